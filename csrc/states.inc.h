/* Elements with few states: coordinate ascent, which the beams follow (docs/mathematics.md,
 * "States"). */

#define FIRST_SWEEPS 8 /* of the beams at the first states */
#define ALONE __attribute__((noinline))
#define LEAST 1e-3     /* part of the determinant of S, or less, at which rounding hides a promise */
#define TOGETHER 8     /* elements of which the one that promises most moves */

/* Of each channel: G, S, its factor, Y', X, Psi, A, what `find_system` finds, and the links. */
typedef struct {
    vec *m;
    cpx *columns;         /* F x N x K: H_kn */
    cpx *q;               /* N: weights */
    num *chosen;          /* N: their states */
    cpx *states;          /* S */
    num *promise;         /* S: gains of an element's states */
    cpx *effective, *power_gram, *feeds, *whitened, *gram, *psi, *received, *inverse, *own;
    num *disturbance, *ratio, *half, *ridge;
    cpx *row, *wave;      /* F x K, F x L: h and Phi_n of the element that moves */
    cpx *root_wave;       /* L: C^-1 Phi_n^H */
    cpx *pair[2];         /* K: the columns of U */
} state_search;

static void lay_out_search(problem *p, state_search *s, arena *a) {
    const idx F = p->F, K = p->K, L = p->L, S = p->shape->states;
    s->m = TAKE(a, p->n, vec);
    s->columns = LANES > 1 ? (cpx *)p->channel : TAKE(a, F * p->N * K, cpx);
    s->q = TAKE(a, p->N, cpx);
    s->chosen = TAKE(a, p->N, num);
    s->states = TAKE(a, S, cpx);
    s->promise = TAKE(a, S, num);
    s->effective = TAKE(a, F * K * L, cpx);
    s->whitened = TAKE(a, F * K * L, cpx);
    s->power_gram = TAKE(a, F * L * L, cpx);
    s->feeds = TAKE(a, F * L * L, cpx);
    cpx **squares[] = {&s->gram, &s->psi, &s->received, &s->inverse};
    num **vectors[] = {&s->disturbance, &s->ratio, &s->half};
    for (int i = 0; i < 4; i++)
        *squares[i] = TAKE(a, F * K * K, cpx);
    for (int i = 0; i < 3; i++)
        *vectors[i] = TAKE(a, F * K, num);
    s->ridge = TAKE(a, F, num);
    s->own = TAKE(a, F * K, cpx);
    s->row = TAKE(a, F * K, cpx);
    s->wave = TAKE(a, F * L, cpx);
    s->root_wave = TAKE(a, L, cpx);
    for (int i = 0; i < 2; i++)
        s->pair[i] = TAKE(a, K, cpx);
}

/* H_kn and the weights as one number an element. */
static void load_search(problem *p, state_search *s) {
    load_columns(p, s->columns);
    if (p->element)
        part_weights(p, s->q);
    for (idx n = 0; !p->element && n < p->N; n++)
        s->q[n] = (cpx){((const num *)s->m)[n], NUM(0)};
    clear(p->F * p->K, s->row); /* of lanes that never move: a change of zero times these */
    clear(p->F * p->L, s->wave);
}

/* Goes to channel f. */
static void enter_search(problem *p, const state_search *s, idx f) {
    const idx K = p->K, L = p->L;
    enter_channel(p, f);
    p->effective = s->effective + f * K * L;
    p->whitened = s->whitened + f * K * L;
    p->power_gram = s->power_gram + f * L * L;
    p->feeds = s->feeds + f * L * L;
    p->gram = s->gram + f * K * K;
    p->received = s->received + f * K * K;
    p->inverse = s->inverse + f * K * K;
    p->disturbance = s->disturbance + f * K;
    p->ratio = s->ratio + f * K;
    p->half = s->half + f * K;
    p->own = s->own + f * K;
}

/* Y' and X from G and S.  Once more of the same it gives the same bits, so that lanes do not depend on
 * when others move: hence one copy of the code. */
static ALONE void whiten_again(problem *p) {
    if (p->radiated) {
        memcpy(p->feeds, p->power_gram, (size_t)(p->L * p->L) * sizeof(cpx));
        whiten_by(p);
    } else {
        adjoint_of(p->K, p->L, p->effective, p->whitened);
    }
    gram_of_columns(p->L, p->K, p->whitened, p->gram);
}

/* The links that Psi has, and (diag(a)^{1/2} X diag(a)^{1/2} + c I)^-1.  Returns their rate. */
static ALONE num find_promises(problem *p, state_search *s, idx f) {
    const idx K = p->K;
    const num power = inner_product(K * K, s->psi + f * K * K, p->received);
    find_links(p, p->received, p->noise * power);
    for (idx k = 0; k < K; k++)
        p->ratio[k] = pick(p->signal[k] > 0, p->ratio[k], NUM(0));
    mask useful = power > 0;
    const num ridge = find_system(p, p->gram, p->noise, &useful);
    s->ridge[f] = pick(useful, (real)NATURAL * ridge, NUM(0));
    return pick(power > 0, rate_of(K, p->ratio, p->weights), NUM(0));
}

/* State i of each item. */
static cpx read_state(const problem *p, hf_operand from, idx i) {
    const idx parts = p->shape->turned ? 2 : 1;
    cpx x = {NUM(0), NUM(0)};
    for (idx lane = 0; lane < LANES; lane++) {
        const double *start = doubles_of(from, p->item[lane]);
        set(&x.re, lane, (real)read_one(p->shape->single, start, parts * i));
        if (parts > 1)
            set(&x.im, lane, (real)read_one(p->shape->single, start, parts * i + 1));
    }
    return x;
}

/* Adds what each state of element n promises in channel f, with the receivers and the weights of the
 * errors as they are and the beams that suit them: X changes by U C U^H with U = [h, G S^-1 Phi_n^H],
 * so the inverse by a matrix of rank two. */
INLINE void promise_users(problem *p, state_search *s, const idx K, idx f, idx n) {
    const idx L = p->L;
    const cpx *h = s->columns + (f * p->N + n) * K;
    cpx *z = s->root_wave, *a = s->pair[0], *b = s->pair[1];
    num size = NUM(0); /* Phi_n S^-1 Phi_n^H */
    for (idx l = 0; l < L; l++)
        z[l] = conjugate(wave_of(p, f, n, l));
    if (p->radiated)
        solve_lower(L, 1, p->feeds, z);
    for (idx k = 0; k < K; k++) {
        a[k] = scaled(p->half[k], h[k]);
        b[k] = (cpx){NUM(0), NUM(0)};
    }
    for (idx l = 0; l < L; l++) {
        size += norm2(z[l]);
        for (idx k = 0; k < K; k++) {
            const cpx y = p->whitened[l * K + k];
            b[k].re += y.re * z[l].re + y.im * z[l].im;
            b[k].im += y.re * z[l].im - y.im * z[l].re;
        }
    }
    for (idx k = 0; k < K; k++)
        b[k] = scaled(p->half[k], b[k]);
    /* P = U^H E U and W = U^H E diag(alpha w) E U of the inverse E */
    num p11 = NUM(0), p22 = NUM(0), w11 = NUM(0), w22 = NUM(0);
    cpx p21 = {NUM(0), NUM(0)}, w21 = {NUM(0), NUM(0)};
    for (idx i = 0; i < K; i++) {
        cpx to_a = {NUM(0), NUM(0)}, to_b = {NUM(0), NUM(0)};
        for (idx j = 0; j < K; j++) {
            const cpx e = p->inverse[i * K + j];
            to_a.re += e.re * a[j].re - e.im * a[j].im;
            to_a.im += e.re * a[j].im + e.im * a[j].re;
            to_b.re += e.re * b[j].re - e.im * b[j].im;
            to_b.im += e.re * b[j].im + e.im * b[j].re;
        }
        const num gain = p->weights[i] * (1 + p->ratio[i]);
        const cpx across = times(conjugate(b[i]), to_a), after = times(conjugate(to_b), to_a);
        p11 += a[i].re * to_a.re + a[i].im * to_a.im;
        p22 += b[i].re * to_b.re + b[i].im * to_b.im;
        add(&p21, across);
        w11 += gain * norm2(to_a);
        w22 += gain * norm2(to_b);
        w21 = (cpx){w21.re + gain * after.re, w21.im + gain * after.im};
    }
    const num det = p11 * p22 - norm2(p21), both = p21.re * w21.re + p21.im * w21.im;
    const num bend = size * w11 - (p22 * w11 + p11 * w22 - 2 * both);
    const num stiff = size * p11 - det, room_left = size - p22;
    const cpx q = s->q[n];
    const num counts = s->ridge[f], own = norm2(q);
    for (idx i = 0; i < p->shape->states; i++) {
        const cpx to = s->states[i], by = minus(to, q);
        const num moved = norm2(by);
        num gain = moved * bend + 2 * (by.re * w21.re - by.im * w21.im);
        num over = 1 + moved * stiff + 2 * (by.re * p21.re - by.im * p21.im);
        if (p->radiated) {
            const num more = norm2(to) - own;
            gain -= more * w22;
            over += more * room_left;
        }
        s->promise[i] += pick(over > (real)LEAST, counts * gain / over, NUM(0));
    }
}

static void promise(problem *p, state_search *s, idx f, idx n) {
#define CALL(users) promise_users(p, s, users, f, n)
    if (p->K > 6)
        promise_users(p, s, p->K, f, n);
    else
        CONSTANT(p->K, CALL)
#undef CALL
}

/* Changes the weight of the element that moves, in channel f, and |q|^2 by `more`, with a WMMSE
 * update.  Returns the rate. */
static num move_element(problem *p, state_search *s, idx f, cpx by, num more, mask moves) {
    const idx K = p->K, L = p->L;
    const cpx *h = s->row + f * K, *phi = s->wave + f * L;
    for (idx l = 0; l < L; l++) {
        const cpx wave = times(by, phi[l]), square = scaled(more, conjugate(phi[l]));
        for (idx k = 0; k < K; k++)
            add(&p->effective[k * L + l], times(h[k], wave));
        for (idx r = 0; p->radiated && r < L; r++)
            add(&p->power_gram[l * L + r], times(square, phi[r]));
    }
    whiten_again(p);
    wmmse_update(p, p->gram, p->noise, s->psi + f * K * K, p->received, moves);
    return find_promises(p, s, f);
}

/* The nearest states, and the best beams there.  Returns the rate. */
static num start_search(problem *p, state_search *s) {
    const idx K = p->K, N = p->N;
    for (idx n = 0; n < N; n++) {
        num nearest = NUM(INFINITY), which = NUM(0);
        for (idx i = 0; i < p->shape->states; i++) {
            const num away = norm2(minus(s->states[i], s->q[n]));
            const mask nearer = away < nearest;
            nearest = pick(nearer, away, nearest);
            which = pick(nearer, NUM(i), which);
        }
        s->chosen[n] = which;
        for (idx i = 0; i < p->shape->states; i++) {
            const mask here = (which == (real)i) & (((const num *)p->free)[n] > 0);
            s->q[n] = pick_cpx(here, s->states[i], s->q[n]);
        }
        if (!p->element)
            ((num *)s->m)[n] = s->q[n].re;
    }
    if (p->element)
        hold_weights(p, s->q);
    num rate = NUM(0);
    for (idx f = 0; f < p->F; f++) {
        cpx *psi = s->psi + f * K * K;
        enter_search(p, s, f);
        find_effective(p, f, s->m, p->effective);
        if (p->radiated)
            find_feed_gram(p, f, s->m, p->sums, p->power_gram);
        whiten_again(p);
        clear(K * K, psi);
        initialize_general(p, p->gram, p->noise, psi);
        general_terms(p, p->gram, p->noise, FIRST_SWEEPS, psi, NULL, NULL);
        rate += find_promises(p, s, f);
    }
    return rate;
}

/* What an element is worth moving, and to where. */
typedef struct {
    num most, element, state;
    cpx by;   /* the change of its weight */
    num more; /* and of |q|^2 */
} state_move;

/* Takes a state of element n in place of a move that promises less. */
static void consider(problem *p, state_search *s, idx n, state_move *best) {
    const cpx q = s->q[n];
    const mask moves = ((const num *)p->free)[n] > 0;
    mask better = every(0);
    for (idx i = 0; i < p->shape->states; i++)
        s->promise[i] = NUM(0);
    for (idx f = 0; f < p->F; f++) {
        enter_search(p, s, f);
        promise(p, s, f, n);
    }
    for (idx i = 0; i < p->shape->states; i++) {
        const mask higher_ = moves & (s->promise[i] > best->most);
        const cpx to = s->states[i];
        best->most = pick(higher_, s->promise[i], best->most);
        best->state = pick(higher_, NUM(i), best->state);
        best->by = pick_cpx(higher_, minus(to, q), best->by);
        best->more = pick(higher_, norm2(to) - norm2(q), best->more);
        better |= higher_;
    }
    best->element = pick(better, NUM(n), best->element);
    for (idx f = 0; any(better) && f < p->F; f++) {
        pick_nums(2 * p->K, better, (const num *)(s->columns + (f * p->N + n) * p->K),
                  (num *)(s->row + f * p->K));
        for (idx l = 0; l < p->L; l++) {
            cpx *to = s->wave + f * p->L + l;
            *to = pick_cpx(better, wave_of(p, f, n, l), *to);
        }
    }
}

/* A pass over the elements in the lanes of `open`.  Returns where any has moved. */
static mask pass_states(problem *p, state_search *s, num tolerance, mask open, num *rate) {
    mask moved = every(0);
    for (idx at = 0; at < p->N && !stopped(p->shape); at += TOGETHER) {
        const idx end = least(at + TOGETHER, p->N);
        state_move best = {NUM(0), NUM(0), NUM(0), {NUM(0), NUM(0)}, NUM(0)};
        for (idx n = at; n < end; n++)
            consider(p, s, n, &best);
        const mask moves = open & (best.most > tolerance * *rate);
        if (!any(moves))
            continue;
        const cpx still = {NUM(0), NUM(0)}, by = pick_cpx(moves, best.by, still);
        const num more = pick(moves, best.more, NUM(0));
        for (idx n = at; n < end; n++) {
            const mask here = moves & (best.element == (real)n);
            add(&s->q[n], pick_cpx(here, by, still));
            s->chosen[n] = pick(here, best.state, s->chosen[n]);
        }
        moved |= moves;
        *rate = NUM(0);
        for (idx f = 0; f < p->F; f++) {
            enter_search(p, s, f);
            *rate += move_element(p, s, f, by, more, moves);
        }
    }
    return moved;
}

OPERATOR(state_ascent) {
    const hf_state_ascent_inputs *given = INPUTS(state_ascent);
    const hf_state_ascent_options *o = OPTIONS(state_ascent);
    problem at, *p = &at;
    state_search s = {0};
    arena a = {NULL, 0};
    measure(p, shape, ITEMS, in[PHASE].step != 0);
    p->radiated = o->radiated != 0;
    p->movable = given->movable;
    p->marks = marks;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, p->radiated);
        lay_out_search(p, &s, &a);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    int loaded = 0;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        const mask good = load_problem(p, in, &loaded, s.m);
        num sum = NUM(0);
        for (idx i = 0; i < shape->states; i++) {
            s.states[i] = read_state(p, given->states, i);
            sum += s.states[i].re + s.states[i].im;
        }
        leave_out(p, HF_STATE_ASCENT, good & is_finite(sum), out);
        load_search(p, &s);
        num rate = start_search(p, &s);
        mask open = lanes_in_use(p);
        for (idx i = 0; i < (idx)o->iterations && any(open); i++)
            open = pass_states(p, &s, NUM(o->tolerance), open, &rate);
        leave_lanes(p, not((rate > 0) & is_finite(rate)));
        write_number(p, rate * p->weight_size, out[0]);
        USED_LANES(p, lane)
            for (idx n = 0; n < p->N; n++)
                ((int64_t *)out[1])[p->item[lane] * p->N + n] = (int64_t)get(s.chosen[n], lane);
    }
    return concluded(&a, stopped(shape));
}
