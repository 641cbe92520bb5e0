/* Paper A's baselines: beams, then exact coordinate descent on the amplitudes, in turn
 * (docs/mathematics.md, "Coordinate descent"). */

#define FLOAT_SUFFICES 1e-3 /* of a rate, for what was found in single precision to stay */

typedef struct {
    int element;               /* what the elements can do: their weights are given to the passes */
    vec *m;
    cpx *q, *best_q;           /* N: complex weights */
    num *best;                 /* N */
    cpx *columns, *fields;     /* F x N x K: H_kn, and Z = Phi V */
    cpx *received, *psi;       /* F x K x K: A, and Psi */
    cpx *beams, *best_beams;   /* F x L x K */
    num *curvature;            /* F x K: a */
    cpx *target;               /* F x K: c */
    cpx *mixed;                /* K */
    num *spent, *ridge;        /* F */
    num *theta;                /* F x (L + 1): multipliers of the limits of the feeds */
    num *trace;
    idx traced;
    mask singular;
} descent;

static void lay_out_descent(problem *p, descent *d, arena *a) {
    const idx F = p->F, K = p->K, N = p->N;
    d->m = TAKE(a, p->n, vec);
    d->best = TAKE(a, N, num);
    d->q = TAKE(a, d->element ? N : 0, cpx);
    d->best_q = TAKE(a, d->element ? N : 0, cpx);
    d->columns = LANES > 1 ? (cpx *)p->channel : TAKE(a, F * N * K, cpx);
    d->fields = TAKE(a, F * N * K, cpx);
    d->received = TAKE(a, F * K * K, cpx);
    d->psi = TAKE(a, F * K * K, cpx);
    d->beams = TAKE(a, F * p->L * K, cpx);
    d->best_beams = TAKE(a, F * p->L * K, cpx);
    d->curvature = TAKE(a, F * K, num);
    d->target = TAKE(a, F * K, cpx);
    d->mixed = TAKE(a, K, cpx);
    d->spent = TAKE(a, F, num);
    d->ridge = TAKE(a, F, num);
    d->theta = TAKE(a, F * (p->L + 1), num);
    d->trace = TAKE(a, d->traced, num);
}

/* An array over some of the elements, K numbers each, as one number per element. */
static void part_elements(const problem *p, idx count, const cvec *from, cpx *to) {
    for (idx n = 0; n < count; n++)
        for (idx k = 0; k < p->K; k++)
            to[n * p->K + k] = number_at(from + k, p->K, n);
}

/* H_kn, F x N x K, where a pack does not have them so anyway. */
static void load_columns(problem *p, cpx *columns) {
    for (idx f = 0; LANES == 1 && f < p->F; f++)
        part_elements(p, p->N, channel_of(p, f), columns + f * p->N * p->K);
}

/* The weights that the passes hold, one number an element, and back. */
static void part_weights(const problem *p, cpx *q) {
    for (idx n = 0; n < p->N; n++)
        q[n] = number_at(p->held, 1, n);
}
static void hold_weights(problem *p, const cpx *q) {
    for (idx n = 0; n < p->N; n++)
        put_number(p->held, 1, n, q[n]);
}

/* Moves the weights that may to their circle. */
static void hold_circle(problem *p, int element) {
    for (idx i = 0; i < p->n; i++) {
        const lanes moves = p->free[i] > 0;
        cvec q, slope;
        weigh_state(element, state_of(element, p->held[i]), &q, &slope);
        p->held[i] = choose_cvec(moves, q, p->held[i]);
    }
}

/* A = X Psi in the lanes of `which`. */
static void receive(problem *p, mask which, const cpx *psi, cpx *received) {
    multiply(p->K, p->K, p->K, p->gram, psi, p->spare);
    pick_nums(2 * p->K * p->K, which, (const num *)p->spare, (num *)received);
}

/* New beams in channel f by a WMMSE update or by zero forcing, with their fields, A, power and the
 * quadratic sum_k a_k (|A_kk|^2 + D_k) - 2 Re sum_k c_k A_kk that is to be minimised: WMMSE and
 * fractional programming have the same.  Returns the rate. */
static num update_beams(problem *p, descent *d, idx f, int zero_forced) {
    const idx K = p->K, L = p->L;
    cpx *psi = d->psi + f * K * K, *received = d->received + f * K * K;
    cpx *beams = d->beams + f * L * K;
    num *a = d->curvature + f * K, *theta = d->theta + f * (L + 1);
    num within = NUM(1);
    whiten_within(p, f, (const vec *)d->m, theta);
    if (zero_forced) {
        num price;
        mask fits;
        for (idx k = 0; k < K; k++)
            p->served[k] = pick(p->gram[k * K + k].re > 0, NUM(1), NUM(0));
        const num rate = zf_terms(p, p->gram, p->noise, psi, p->adjoint, &price, &fits);
        const mask none = not(rate > 0);
        if (any(none)) {
            d->singular |= none;
            pseudo_invert(K, p->gram, p->spare, p->adjoint);
            pick_nums(2 * K * K, none, (const num *)p->spare, (num *)psi);
            whiten_within(p, f, (const vec *)d->m, theta);
        }
        multiply(K, K, K, p->gram, psi, received);
    } else {
        find_links(p, received, p->noise * d->spent[f]);
        const mask useful = wmmse_update(p, p->gram, p->noise, psi, received, d->spent[f] > 0);
        if (!all(useful))
            receive(p, not(useful), psi, received);
    }
    d->spent[f] = inner_product(K * K, psi, received);
    const mask lost = not(d->spent[f] > 0); /* by rounding: more users than G has dimensions */
    if (!zero_forced && any(lost)) {
        force_first(p, p->gram, p->noise, p->spare);
        pick_nums(2 * K * K, lost, (const num *)p->spare, (num *)psi);
        receive(p, lost, psi, received);
        d->spent[f] = inner_product(K * K, psi, received);
    }
    multiply(L, K, K, p->carrier, psi, beams);
    if (p->limited) {
        find_spent(p, beams, p->spent);
        take_part(p, theta, NUM(1), p->spent);
        within = find_excess(p, p->spent);
    }
    cpx *fields = d->fields + f * p->N * K;
#ifdef HF_LONE
    for (idx at = 0; at < p->n; at += STRIP) {
        const idx count = least(STRIP, p->n - at);
        find_fields(p, f, at, count, beams, p->field);
        part_elements(p, least(count * W, p->N - at * W), p->field, fields + at * W * K);
    }
#else
    find_fields(p, f, 0, p->n, beams, (cvec *)fields);
#endif
    const mask heard = d->spent[f] > 0;
    find_links(p, received, p->noise * within * d->spent[f]);
    for (idx k = 0; k < K; k++)
        p->ratio[k] = pick(p->signal[k] > 0, p->ratio[k], p->signal[k]);
    const num rate = pick(heard, rate_of(K, p->ratio, p->weights), NUM(0));
    if (p->limited)
        find_links(p, received, p->noise * d->spent[f]);
    d->ridge[f] = NUM(0);
    for (idx k = 0; k < K; k++) {
        p->ratio[k] = pick(p->signal[k] > 0, p->ratio[k], p->signal[k]);
        const num total = p->disturbance[k] * (1 + p->ratio[k]);
        const num gain =
            pick(heard & (total > 0), p->weights[k] * (1 + p->ratio[k]) / total, NUM(0));
        a[k] = gain * pick(total > 0, p->signal[k] / total, NUM(0));
        d->target[f * K + k] = scaled(gain, conjugate(received[k * K + k]));
        d->ridge[f] += p->radiated ? p->noise * a[k] : 0 * a[k];
    }
    if (p->limited)
        d->ridge[f] *= theta[0];
    return rate;
}

/* One sweep of exact coordinate descent on q: dA_kj = H_kn Z_nj dq_n, so each q_n has a quadratic,
 * whose noise term is ridge |q_n|^2 |Z_n|^2.  A takes in the change of an element while the next one
 * reads it. */
INLINE void descend_users(problem *p, descent *d, const int turned, const idx K) {
    const idx N = p->N;
    num *m = (num *)d->m;
    cpx change = {NUM(0), NUM(0)};
    for (idx n = 0; n < N; n++) {
        num slope = NUM(0), quadrature = NUM(0), bend = NUM(0);
        for (idx f = 0; f < p->F; f++) {
            const cpx *h = d->columns + (f * N + n) * K, *z = d->fields + (f * N + n) * K;
            const cpx *last_h = h - (n ? K : 0), *last_z = z - (n ? K : 0);
            cpx *received = d->received + f * K * K;
            const cpx *c = d->target + f * K;
            const num *a = d->curvature + f * K;
            num size = NUM(0), gain = NUM(0), pull[2] = {NUM(0), NUM(0)}, across = NUM(0);
            for (idx j = 0; j < K; j++)
                size += norm2(z[j]);
            for (idx k = 0; k < K; k++) {
                const cpx by = turned ? times(change, last_h[k]) : scaled(change.re, last_h[k]);
                num re[2] = {NUM(0), NUM(0)}, im[2] = {NUM(0), NUM(0)};
                for (idx j = 0; j < K; j++) {
                    cpx x = received[k * K + j];
                    x.re += by.re * last_z[j].re;
                    x.im += by.re * last_z[j].im;
                    x.re -= by.im * last_z[j].im;
                    x.im += by.im * last_z[j].re;
                    received[k * K + j] = x;
                    re[0] += x.re * z[j].re;
                    re[1] += x.im * z[j].im;
                    im[0] += x.im * z[j].re;
                    im[1] -= x.re * z[j].im;
                }
                const cpx mixed = {re[0] + re[1], im[0] + im[1]}; /* sum_j A_kj conj(z_j) */
                const cpx own = times(h[k], z[k]);
                const num weighed = a[k] * h[k].re, weighed_im = a[k] * h[k].im;
                pull[0] += weighed * mixed.re - (c[k].re * own.re - c[k].im * own.im);
                pull[1] += weighed_im * mixed.im;
                if (turned) {
                    across += weighed * mixed.im - weighed_im * mixed.re;
                    across += c[k].re * own.im + c[k].im * own.re;
                }
                gain += a[k] * norm2(h[k]);
            }
            const num counts = channel_in_use(p, f);
            const num ridge = d->ridge[f] * size;
            if (turned) {
                slope += counts * (pull[0] + pull[1] + ridge * d->q[n].re);
                quadrature += counts * (across + ridge * d->q[n].im);
            } else {
                slope += counts * (pull[0] + pull[1] + ridge * m[n]);
            }
            bend += counts * (size * (gain + d->ridge[f]));
        }
        slope = over_channels(p, slope);
        bend = over_channels(p, bend);
        const mask moves = (bend > (real)(1 / HUGE_REAL)) & (((const num *)p->free)[n] > 0);
        change = (cpx){NUM(0), NUM(0)};
        if (turned) {
            quadrature = over_channels(p, quadrature);
            const cpx pulled = {bend * d->q[n].re - slope, bend * d->q[n].im - quadrature};
            const cpx to = least_number(d->element, bend, pulled, d->q[n]);
            change = pick_cpx(moves, minus(to, d->q[n]), change);
            add(&d->q[n], change);
        } else {
            const num inverse = 1 / bend; /* known before the slope is */
            const num inside_ = larger(smaller(m[n] - slope * inverse, NUM(1)), NUM(0));
            change.re = pick(moves, inside_, m[n]) - m[n];
            m[n] += change.re;
        }
    }
    for (idx f = 0; f < p->F; f++) {
        const idx last = (f * N + N - 1) * K;
        for (idx i = 0; i < K * K; i++) {
            const cpx by = times(change, d->columns[last + i / K]);
            add(&d->received[f * K * K + i], times(by, d->fields[last + i % K]));
        }
    }
}

static void descend(problem *p, descent *d, int turned) {
#define CALL(users) descend_users(p, d, 0, users)
    if (turned)
        descend_users(p, d, 1, p->K);
    else if (p->K > 6)
        descend_users(p, d, 0, p->K);
    else
        CONSTANT(p->K, CALL)
#undef CALL
}

/* The power of the beams at the amplitudes as they are now. */
static void find_radiated(problem *p, descent *d) {
    const num *m = (const num *)d->m;
    for (idx f = 0; f < p->F; f++) {
        d->spent[f] = NUM(0);
        for (idx n = 0; n < p->N; n++) {
            num size = NUM(0);
            for (idx k = 0; k < p->K; k++)
                size += norm2(d->fields[(f * p->N + n) * p->K + k]);
            if (d->element)
                size *= norm2(d->q[n]);
            else
                size *= m[n] * m[n];
            d->spent[f] += size;
        }
    }
}

/* The multipliers at the amplitudes as they are now, and what they count of the power. */
static void move_multipliers(problem *p, descent *d) {
    for (idx f = 0; f < p->F; f++) {
        num *theta = d->theta + f * (p->L + 1);
        gather_feeds(p, f, (const vec *)d->m);
        find_spent(p, d->beams + f * p->L * p->K, p->spent);
        rebalance(p, theta, p->spent);
        d->spent[f] = count_spent(p, theta, p->spent);
    }
}

static int run_descent(problem *p, descent *d, int zero_forced, idx iterations, num tolerance,
                       num *best_rate, num *made, mask *converged) {
    const idx K = p->K, beam_nums = 2 * p->F * p->L * K;
    for (idx f = 0; f < p->F; f++) {
        cpx *psi = d->psi + f * K * K, *received = d->received + f * K * K;
        start_multipliers(p, d->theta + f * (p->L + 1));
        whiten_within(p, f, (const vec *)d->m, d->theta + f * (p->L + 1));
        match(p, p->gram, psi);
        multiply(K, K, K, p->gram, psi, received);
        d->spent[f] = inner_product(K * K, psi, received);
    }
    num rate = NUM(0);
    mask open = every(1);
    *best_rate = NUM(-INFINITY);
    *made = NUM(0);
    *converged = d->singular = every(0);
    for (idx i = 0;; i++) {
        const num previous = rate;
        rate = NUM(0);
        for (idx f = 0; f < p->F; f++)
            rate += channel_in_use(p, f) * update_beams(p, d, f, zero_forced);
        rate = over_channels(p, rate);
        if (i < d->traced)
            d->trace[i] = rate;
        *made = pick(open, NUM(i), *made);
        const mask better = open & (rate > *best_rate);
        *best_rate = pick(better, rate, *best_rate);
        if (d->element)
            pick_nums(2 * p->N, better, (const num *)d->q, (num *)d->best_q);
        else
            pick_nums(p->N, better, (const num *)d->m, d->best);
        pick_nums(beam_nums, better, (const num *)d->beams, (num *)d->best_beams);
        const num change = rate - previous;
        if (i > 0) {
            const mask settled = open & (change < tolerance) & (change > -tolerance);
            *converged |= settled;
            open &= not(settled);
        }
        if (i == iterations || !any(open))
            return 0;
        if (stopped(p->shape))
            return 1;
        descend(p, d, d->element);
        if (d->element)
            hold_weights(p, d->q);
        if (p->limited)
            move_multipliers(p, d);
        else if (p->radiated && !zero_forced)
            find_radiated(p, d);
    }
}

OPERATOR(coordinate_descent) {
    const hf_coordinate_descent_inputs *given = INPUTS(coordinate_descent);
    const hf_coordinate_descent_options *o = OPTIONS(coordinate_descent);
    problem at, *p = &at;
    descent d = {0};
    arena a = {NULL, 0};
    measure(p, shape, lanes, in[PHASE].step != 0);
    p->radiated = o->radiated != 0;
    d.element = shape->turned ? (int)o->element : AMPLITUDE;
    p->movable = given->movable;
    p->feed_power = given->feed_power;
    const int limits = p->limited = limits_feeds(shape, given->feed_power);
    p->marks = marks;
    d.traced = shape->recorded;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, p->radiated);
        lay_out_descent(p, &d, &a);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    int told = 0, loaded = 0;
    for (p->limited = 0; p->limited <= limits && !told; p->limited++)
        for (idx next = 0; !told && fill_lanes(p, &next);) {
            num rate, made;
            mask converged;
            leave_out(p, HF_COORDINATE_DESCENT, load_problem(p, in, &loaded, d.m), out);
            load_columns(p, d.columns);
            if (d.element) {
                hold_circle(p, d.element);
                part_weights(p, d.q);
            }
            memset(d.best, 0, (size_t)p->N * sizeof(num));
            memset(d.best_q, 0, d.element ? (size_t)p->N * sizeof(cpx) : 0);
            told = run_descent(p, &d, o->zero_forced != 0, (idx)o->iterations,
                               NUM(o->tolerance), &rate, &made, &converged);
            leave_lanes(p, d.singular);
            memcpy(d.m, d.best, (size_t)p->N * sizeof(num));
            if (d.element)
                hold_weights(p, d.best_q);
            if (!told)
                store_loop(p, d.m, d.best_beams, made, converged, d.trace, d.traced, out);
        }
    return concluded(&a, told);
}

/* Beams found in single precision at amplitudes that stay: the beams once more as options[1] says,
 * with their power and rate in double.  Marks items whose rate in single precision
 * differs. */
OPERATOR(refine) {
    problem at, *p = &at;
    alternation s = {0};
    arena a = {NULL, 0};
    const idx parts = shape->turned ? 2 : 1;
    const hf_operand amplitudes = {out[TO_AMPLITUDES], parts * shape->elements * bytes_of(shape)};
    const int how = (int)options[1];
    hf_operand given[MIN_RATE];
    memcpy(given, in, sizeof given);
    if (out[TO_AMPLITUDES])
        given[AMPLITUDES] = amplitudes;
    measure(p, shape, lanes, in[PHASE].step != 0);
    p->marks = marks;
    p->radiated = options[0] != 0;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, p->radiated);
        lay_out_alternation(p, &s, &a);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    const idx size = p->L * p->K;
    const hf_operand digital = {out[TO_DIGITAL], 2 * shape->channels * size * bytes_of(shape)};
    double *rates = out[TO_RATE];
    int loaded = 0;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        load_problem(p, given, &loaded, s.m);
        num sum = NUM(0);
        mask wrong = every(0);
        for (idx f = 0; f < p->F; f++) {
            cpx *beams = s.beams + f * size;
            mask regular = every(1);
            read_matrix(p, digital, f, size, beams);
            scale(size, 1 / p->size, beams);
            if (how == KEEP) {
                find_effective(p, f, s.m, p->effective);
            } else if (how == SWEEP) {
                sweep_beams(p, f, s.m, 1, s.psi, beams);
            } else {
                num price;
                mask fits;
                whiten(p, f, s.m, p->radiated);
                if (how == EQUAL_SINR)
                    regular = pseudo_invert(p->K, p->gram, s.psi, p->adjoint);
                else
                    regular = zf_terms(p, p->gram, p->noise, s.psi, p->adjoint, &price, &fits) >
                              (real)-INFINITY;
                multiply(p->L, p->K, p->K, p->carrier, s.psi, p->whitened);
                pick_nums(2 * size, regular, (const num *)p->whitened, (num *)beams);
            }
            const num counts = channel_in_use(p, f);
            sum += counts * scale_to_power(p, f, s.m, beams);
            wrong |= not(regular) & (counts > 0);
            scale(size, p->size, beams);
        }
        const int spoilt = p->lanes == CHANNELS && any(wrong);
        const num rate = over_channels(p, sum) * p->weight_size;
        for (idx lane = 0; lane < LANES; lane++) {
            const idx item = p->item[lane];
            const double found = get(rate, lane), off = found - rates[item];
            if (!p->used[lane])
                continue;
            if (spoilt || holds(wrong, lane) || !(fabs(off) <= FLOAT_SUFFICES * found)) {
                marks[item] = 1;
                p->used[lane] = 0;
            } else {
                rates[item] = found;
            }
        }
        for (idx f = 0; f < p->F; f++)
            write_matrix(p, s.beams + f * size, size, out[TO_DIGITAL], f);
    }
    return concluded(&a, stopped(shape));
}
