/* Precoders from a given channel, and the projection onto a surface (docs/mathematics.md,
 * "Zero forcing", "WMMSE", "Projection"). */

/* With a smallest pivot over the largest entry above this, results have the digits of the call's
 * precision; items below it leave the lanes for the lone problem in double. */
#define BALANCING 60    /* sweeps of Newton's method, which takes about five */
#define MOST_POWER 1e12 /* of what users would need alone, before minimum rates count as out of reach */
#define MET 1e-6        /* gap of a minimum rate that counts as met */
#define REGULAR (sizeof(real) == 4 ? 1e-2 : 1e-8)

#ifdef HF_LONE
/* Minimum-norm inverse by one-sided Jacobi, for what pivots cannot take: the rows of a are
 * rotated until they are orthogonal, J a = Q with rows of norm s, so a^+ = (Q / s^2)^H J.
 * Leaves Q / s^2 in place of a, and J in j (rows x rows); an s under tolerance times the largest
 * counts as zero.  Returns the rank. */
static idx jacobi_inverse(idx rows, idx columns, double tolerance, cpx *a, cpx *j) {
    double largest_norm = 0;
    clear(rows * rows, j);
    for (idx r = 0; r < rows; r++) {
        j[r * rows + r].re = 1;
        largest_norm =
            larger(largest_norm, inner_product(columns, a + r * columns, a + r * columns));
    }
    const double nothing = 1e-40 * largest_norm; /* rotating on would end in denormal numbers */
    for (int sweep = 0, rotated = 1; rotated && sweep < 60; sweep++) {
        rotated = 0;
        for (idx p = 0; p < rows; p++)
            for (idx q = p + 1; q < rows; q++) {
                cpx *left = a + p * columns, *right = a + q * columns, cross = {0, 0};
                for (idx i = 0; i < columns; i++) /* <row_q, row_p> */
                    add(&cross, times(left[i], conjugate(right[i])));
                const double pp = inner_product(columns, left, left);
                const double qq = inner_product(columns, right, right);
                const double size = sqrt(norm2(cross));
                if (!(size > 1e-15 * sqrt(pp) * sqrt(qq)) || !(pp > nothing && qq > nothing))
                    continue;
                rotated = 1;
                const double zeta = (qq - pp) / (2 * size);
                const double t = (zeta < 0 ? -1.0 : 1.0) / (fabs(zeta) + sqrt(1 + zeta * zeta));
                const double c = 1 / sqrt(1 + t * t), s = c * t;
                const cpx turn_by = scaled(1 / size, cross);
                cpx *firsts[] = {left, j + p * rows}, *seconds[] = {right, j + q * rows};
                const idx lengths[] = {columns, rows};
                for (int m = 0; m < 2; m++)
                    for (idx i = 0; i < lengths[m]; i++) {
                        const cpx x = firsts[m][i], y = times(turn_by, seconds[m][i]);
                        firsts[m][i] = (cpx){c * x.re - s * y.re, c * x.im - s * y.im};
                        seconds[m][i] = (cpx){s * x.re + c * y.re, s * x.im + c * y.im};
                    }
            }
    }
    largest_norm = 0;
    for (idx r = 0; r < rows; r++)
        largest_norm =
            larger(largest_norm, inner_product(columns, a + r * columns, a + r * columns));
    idx rank = 0;
    for (idx r = 0; r < rows; r++) {
        const double norm = inner_product(columns, a + r * columns, a + r * columns);
        const int counts = sqrt(norm) > tolerance * sqrt(largest_norm);
        rank += counts;
        scale(columns, counts ? 1 / norm : 0, a + r * columns);
    }
    return rank;
}

/* Singular values of an array in either precision count as zero under this, relatively. */
static double rank_tolerance(const hf_shape *s, idx rows, idx columns) {
    return (double)most(rows, columns) * (s->single ? 1.1920928955078125e-07 : EPSILON);
}
#endif

/* inverse = gram^+, spoiling `gram` and `rotation`; a pack leaves the lanes where X is singular. */
static mask pseudo_invert(idx K, cpx *gram, cpx *inverse, cpx *rotation UNUSED) {
    memcpy(inverse, gram, (size_t)(K * K) * sizeof(cpx));
    const mask regular = invert(K, inverse) > (real)SINGULAR;
#ifdef HF_LONE
    if (!regular) {
        jacobi_inverse(K, K, SINGULAR, gram, rotation);
        multiply_left_dagger(K, K, K, gram, rotation, inverse);
    }
#endif
    return regular;
}

typedef struct {
    cvec *precoder; /* n x K */
    cpx *psi, *rows, *rotation;
    dual_uplink dual;
} precoding;

static int open_precoding(problem *p, precoding *c, const hf_shape *s, uint8_t *marks, arena *a) {
    measure(p, s, ITEMS, 0);
    p->marks = marks;
    p->L = 1;
    while (lay_out(a)) {
        lay_out_problem(p, a, 0);
        c->precoder = TAKE(a, p->n * p->K, cvec);
        c->psi = TAKE(a, p->K * p->K, cpx);
        c->rotation = TAKE(a, p->K * p->K, cpx);
        c->rows = TAKE(a, LANES > 1 ? 0 : p->K * p->N, cpx);
        lay_out_dual(p, &c->dual, a);
    }
    if (!a->memory)
        return HF_NO_MEMORY;
    p->phase_size = NUM(1);
    return HF_OK;
}

#define MODERATE 1e6 /* sum of squares from which nothing leaves the range of single precision */

/* Loads the channels in the lanes, scaled where they need it, and their Gram matrix.  Returns what
 * they were divided by; NaN where a channel is not finite. */
static num load_channel(problem *p, hf_operand channel) {
    const idx K = p->K, count = p->n * K;
    num squares = NUM(0);
    read_rows(p, channel, 0, K, p->channel);
    find_channel_gram(p, 0, p->gram);
    for (idx k = 0; k < K; k++)
        squares += p->gram[k * K + k].re;
    if (all((squares > (real)(1 / MODERATE)) & (squares < (real)MODERATE)))
        return NUM(1);
    const num size = largest_part(count, 2, p->channel);
    const num unit = scale_parts(count, size, p->channel);
    find_channel_gram(p, 0, p->gram);
    return pick(is_finite(size), unit, NUM(NAN));
}

/* sum_j conj(h_j) Psi_jk of one element, for a constant number of users k. */
INLINE void combine_block(const int users, idx K, const cvec *restrict h, const cpx *restrict psi,
                          cvec *restrict to) {
    cvec sum[BLOCK_COLUMNS];
    for (int k = 0; k < users; k++)
        sum[k] = (cvec){{0}, {0}};
    for (idx j = 0; j < K; j++)
        for (int k = 0; k < users; k++) {
            const vec re = spread(psi[j * K + k].re), im = spread(psi[j * K + k].im);
            sum[k].re += h[j].re * re;
            sum[k].im += h[j].re * im;
            sum[k].re += h[j].im * im;
            sum[k].im -= h[j].im * re;
        }
    for (int k = 0; k < users; k++)
        to[k] = sum[k];
}

/* Writes V = G^H Psi at the power; zero stays zero. */
static void write_precoder(problem *p, precoding *c, const cpx *psi, num power, void *out) {
    const idx K = p->K;
    vec sum = {0};
    for (idx i = 0; i < p->n; i++) {
        const cvec *h = p->channel + i * K;
        cvec *to = c->precoder + i * K;
        const idx step = even_step(K, BLOCK_COLUMNS);
        for (idx k = 0; k < K; k += step) {
#define CALL(n) combine_block(least(n, BLOCK_COLUMNS), K, h, psi + k, to + k)
            CONSTANT(least(step, K - k), CALL)
#undef CALL
        }
        for (idx k = 0; k < K; k++)
            sum += to[k].re * to[k].re + to[k].im * to[k].im;
    }
    const num spent = total(sum);
    leave_lanes(p, not(is_finite(spent)));
    write_columns(p, c->precoder, K, pick(spent > 0, root(power) / root(spent), NUM(1)), out);
}

OPERATOR(zero_forcing) {
    problem at, *p = &at;
    precoding c;
    arena a = {NULL, 0};
    const int status = open_precoding(p, &c, shape, marks, &a);
    if (status)
        return status;
    const idx K = p->K;
    int64_t *rank = out[1];
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        const num size = load_channel(p, INPUTS(zero_forcing)->effective_channel);
        leave_out(p, HF_ZERO_FORCING, is_finite(size), out);
        memcpy(c.psi, p->gram, (size_t)(K * K) * sizeof(cpx));
        const mask regular = invert(K, c.psi) > (real)REGULAR;
        leave_lanes(p, not(regular));
        USED_LANES(p, lane)
            rank[p->item[lane]] = K;
#ifdef HF_LONE
        if (p->used[0] && !regular) { /* G^+ = Q^H J: as a channel Q with Psi = J */
            for (idx k = 0; k < K; k++)
                for (idx n = 0; n < p->N; n++)
                    c.rows[k * p->N + n] = number_at(p->channel + k, K, n);
            rank[p->item[0]] =
                jacobi_inverse(K, p->N, rank_tolerance(shape, K, p->N), c.rows, c.psi);
            for (idx k = 0; k < K; k++)
                for (idx n = 0; n < p->N; n++)
                    put_number(p->channel + k, K, n, c.rows[k * p->N + n]);
        }
#endif
        write_precoder(p, &c, c.psi, read_number(p, INPUTS(zero_forcing)->power, 0), out[0]);
    }
    return concluded(&a, stopped(shape));
}

OPERATOR(wmmse) {
    problem at, *p = &at;
    precoding c;
    arena a = {NULL, 0};
    const int status = open_precoding(p, &c, shape, marks, &a);
    if (status)
        return status;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        const num size = load_channel(p, INPUTS(wmmse)->effective_channel);
        load_limits(p, &INPUTS(wmmse)->power, pick(is_finite(size), size, NUM(1)));
        leave_out(p, HF_WMMSE, is_finite(size), out);
        match(p, p->gram, c.psi);
        general_terms(p, p->gram, p->noise, (idx)OPTIONS(wmmse)->iterations, c.psi, NULL, NULL);
        write_precoder(p, &c, c.psi, read_number(p, INPUTS(wmmse)->power, 0), out[0]);
    }
    return concluded(&a, stopped(shape));
}

/* Precoders by the dual uplink: rates in the ratio of the weights at the power given (`shared`), or
 * minimum rates at the least power.  limits: power, noise and weights. */
static int balanced_precoder(int operator_, const hf_shape *shape, hf_operand channel,
                             const hf_operand *limits, hf_operand min_rate, void *const *out,
                             uint8_t *marks) {
    problem at, *p = &at;
    precoding c;
    arena a = {NULL, 0};
    const int shared = operator_ == HF_MAX_MIN;
    const int status = open_precoding(p, &c, shape, marks, &a);
    if (status)
        return status;
    dual_uplink *d = &c.dual;
    p->min_rate = min_rate;
    p->floored = -1;
    const idx K = p->K;
    num *share = p->cost;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        const num size = load_channel(p, channel);
        const mask good = is_finite(size);
        load_limits(p, limits, pick(good, size, NUM(1)));
        const num alone = start_shares(p, p->gram, shared, share);
        const num most_power = shared ? NUM(1) : alone * (real)MOST_POWER;
        num gap, spent = NUM(0), lowest = NUM(INFINITY);
        const num level = balance(p, d, p->gram, BALANCING, shared, most_power, share, &gap);
        mask met = (level >= 0) & (gap < (real)MET);
        for (idx k = 0; k < K; k++) {
            const num rate = pick(share[k] > 0, d->rates[k], NUM(0));
            lowest = pick(p->weights[k] > 0, smaller(lowest, rate / p->weights[k]), lowest);
            met &= not((p->floors[k] > 0) & not(share[k] > 0));
            spent += share[k];
        }
        leave_uplink(p, d, c.psi);
        leave_out(p, operator_, good, out);
        const num power = spent * p->size * p->size;
        if (shared) {
            write_number(p, lowest / p->weight_size, out[1]);
        } else {
            write_number(p, pick(met, power, NUM(INFINITY)), out[1]);
            USED_LANES(p, lane)
                ((uint8_t *)out[2])[p->item[lane]] = (uint8_t)holds(met, lane);
            leave_out(p, operator_, met, (void *[]){out[0], NULL, NULL});
        }
        write_precoder(p, &c, c.psi, power, out[0]);
    }
    return concluded(&a, stopped(shape));
}

OPERATOR(max_min) {
    return balanced_precoder(HF_MAX_MIN, shape, INPUTS(max_min)->effective_channel,
                             &INPUTS(max_min)->power, (hf_operand){NULL, 0}, out, marks);
}

OPERATOR(min_power) {
    const double one = 1;
    const hf_min_power_inputs *given = INPUTS(min_power);
    const hf_operand limits[] = {{&one, 0}, given->noise_power, given->min_rate};
    return balanced_precoder(HF_MIN_POWER, shape, given->effective_channel, limits,
                             given->min_rate, out, marks);
}

OPERATOR(water_filling) {
    const hf_water_filling_inputs *given = INPUTS(water_filling);
    problem at, *p = &at;
    arena a = {NULL, 0};
    measure(p, shape, ITEMS, 0);
    while (lay_out(&a)) {
        num **vectors[] = {&p->cost, &p->weights, &p->above, &p->filled};
        for (int i = 0; i < 4; i++)
            *vectors[i] = TAKE(&a, p->K, num);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    p->marks = marks;
    const idx K = p->K;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        const num power = read_number(p, given->power, 0), noise = read_number(p, given->noise_power, 0);
        num size = NUM(0);
        for (idx k = 0; k < K; k++) {
            p->cost[k] = read_number(p, given->cost, k);
            p->weights[k] = read_number(p, given->weights, k);
            const num floor = read_number(p, given->min_rate, k);
            for (idx lane = 0; lane < LANES; lane++)
                set(&p->filled[k], lane,
                    (real)(expm1((double)get(floor, lane) / NATURAL) * get(noise, lane)));
            size += p->cost[k];
        }
        const mask fits = fill(K, p->cost, power, noise, p->weights, p->above, p->filled) >= 0;
        leave_out(p, HF_WATER_FILLING, size == size, out);
        USED_LANES(p, lane) {
            ((uint8_t *)out[1])[p->item[lane]] = (uint8_t)holds(fits, lane);
            for (idx k = 0; k < K; k++)
                ((double *)out[0])[p->item[lane] * K + k] = get(p->filled[k], lane);
        }
    }
    return concluded(&a, stopped(shape));
}

/* V = B^+ W with B = diag(q) Phi: (B^H B)^-1 B^H W, or where B lacks full column rank by one-sided
 * Jacobi on the rows of B^H = J^H Q, so B^+ = J^H (Q / |Q|^2). */
OPERATOR(project) {
    const hf_project_inputs *given = INPUTS(project);
    problem at, *p = &at;
    arena a = {NULL, 0};
    measure(p, shape, ITEMS, given->phase.step != 0);
    const idx K = p->K, L = p->L;
    vec *m = NULL;
    cpx *UNUSED rows = NULL, *UNUSED rotation = NULL;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, 1);
        m = TAKE(&a, p->n, vec);
        rows = TAKE(&a, LANES > 1 ? 0 : L * p->N, cpx);
        rotation = TAKE(&a, L * L, cpx);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    p->marks = marks;
    p->radiated = OPTIONS(project)->radiated != 0;
    int loaded = 0;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        if (!loaded++ || given->phase.step) {
            load_phase(p, given->phase);
            finish_phase(p);
        }
        const num sum = load_amplitudes(p, given->amplitudes, m);
        read_columns(p, given->precoder, 0, K, p->channel);
        const num size = largest_part(p->n * K, 2, p->channel), inverse = inverse_size(size);
        const vec by = spread(inverse);
        for (idx i = 0; i < p->n * K; i++) /* the rows of W^H */
            p->channel[i] = (cvec){by * p->channel[i].re, -by * p->channel[i].im};
        const mask good = is_finite(size) & is_finite(p->phase_size) & is_finite(sum);
        find_effective(p, 0, m, p->effective);
        for (idx l = 0; l < L; l++)
            for (idx k = 0; k < K; k++)
                p->beams[l * K + k] = conjugate(p->effective[k * L + l]);
        find_feed_gram(p, 0, m, p->sums, p->feeds);
        const mask regular = cholesky(L, p->feeds) > (real)REGULAR;
        solve_lower(L, K, p->feeds, p->beams);
        solve_upper(L, K, p->feeds, p->beams);
        leave_out(p, HF_PROJECT, good, out);
        leave_lanes(p, not(regular));
#ifdef HF_LONE
        if (p->used[0] && !regular) {
            for (idx l = 0; l < L; l++)
                for (idx n = 0; n < p->N; n++) {
                    cpx q = {m[n / W][n % W], 0};
                    if (p->element)
                        q = number_at(p->held, 1, n);
                    rows[l * p->N + n] = conjugate(times(q, wave_of(p, 0, n, l)));
                }
            jacobi_inverse(L, p->N, rank_tolerance(shape, p->N, L), rows, rotation);
            for (idx l = 0; l < L; l++)
                for (idx k = 0; k < K; k++) {
                    cpx entry_sum = {0, 0};
                    for (idx n = 0; n < p->N; n++) {
                        const cpx w = conjugate(number_at(p->channel + k, K, n));
                        add(&entry_sum, times(rows[l * p->N + n], w));
                    }
                    p->whitened[l * K + k] = entry_sum;
                }
            multiply_left_dagger(L, L, K, rotation, p->whitened, p->beams);
        }
#endif
        const num power = read_number(p, given->power, 0);
        for (idx lane = 0; lane < LANES; lane++)
            set(&p->size, lane,
                (real)(sqrt((double)get(power, lane)) /
                       (p->radiated ? 1 / (double)get(inverse_size(p->phase_size), lane) : 1)));
        p->noise = NUM(1);
        for (idx k = 0; k < K; k++)
            p->weights[k] = NUM(0);
        scale_to_power(p, 0, m, p->beams);
        scale(L * K, p->size, p->beams);
        write_matrix(p, p->beams, L * K, out[0], 0);
    }
    return concluded(&a, stopped(shape));
}
