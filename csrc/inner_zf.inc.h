/* Zero forcing with water-filled powers (docs/mathematics.md, "Zero forcing").
 *
 * Every inner problem is the best digital beamformer V = Y Psi at given amplitudes: it finds Psi
 * and its rate from X and, for the gradient over the amplitudes, C and the price of radiated
 * power.  All have a power of one. */

#define OUT_OF_REACH 1e30
#define COPY (64 * EPSILON) /* squared residual, over the gain, of a copy of other users */

/* q_k = max(f_k, alpha_k mu / cost_k - sigma^2) with sum q_k cost_k = P, in place of the floors
 * f_k in `filled`; floors that do not fit are scaled down together.  A user whose share would be
 * under its floor goes to it, which lowers mu for the others: so K rounds suffice.  Users with
 * an infinite cost or no weight stay at their floors.  above: workspace.  Returns mu, or minus the
 * factor by which the floors exceed the power. */
static num fill(idx K, const num *cost, num power, num noise, const num *weights, num *above,
                num *filled) {
    num needed = NUM(0), level = NUM(0);
    for (idx k = 0; k < K; k++)
        needed += pick(filled[k] > 0, filled[k] * cost[k], NUM(0));
    const mask fits = needed <= power;
    for (idx k = 0; k < K; k++) /* 1 for users over their floors */
        above[k] = pick((weights[k] > 0) & (cost[k] <= (real)HUGE_REAL), NUM(1), NUM(0));
    for (idx round = 0; round <= K; round++) {
        num budget = power, slope = NUM(0), changed = NUM(0);
        for (idx k = 0; k < K; k++) {
            budget += pick(above[k] > 0, noise * cost[k],
                           pick(filled[k] > 0, -filled[k] * cost[k], NUM(0)));
            slope += above[k] * weights[k];
        }
        level = pick((slope > 0) & (budget > 0), budget / slope, NUM(0));
        for (idx k = 0; k < K; k++) {
            const mask under =
                (above[k] > 0) & not(weights[k] * level > (filled[k] + noise) * cost[k]);
            changed += pick(under, NUM(1), NUM(0));
            above[k] = pick(under, NUM(0), above[k]);
        }
        if (!any(changed > 0))
            break;
    }
    for (idx k = 0; k < K; k++) { /* rounding must not take a user below its floor */
        const num share = larger(filled[k], weights[k] * level / cost[k] - noise);
        filled[k] = pick(fits, pick(above[k] > 0, share, filled[k]), filled[k] * (power / needed));
    }
    return pick(fits, level, -needed / power);
}

/* X with a unit in place of every user that is not served, so that its inverse is that of the
 * others. */
static void restrict_gram(idx K, const num *served, const cpx *gram, cpx *to) {
    for (idx i = 0; i < K; i++)
        for (idx j = i; j < K; j++) {
            const num both = served[i] * served[j];
            to[i * K + j] = scaled(both, gram[i * K + j]);
            if (i == j)
                to[i * K + j].re += 1 - both;
        }
}

/* The least SINR of a user; of objectives that leave nobody out far too high, so that the SINR of
 * all are balanced. */
INLINE num target_of(const problem *p, idx k) {
    if (leaves_out(p))
        return p->targets[k];
    const num by = (real)OUT_OF_REACH * p->served[k];
    if (p->objective == MIN_POWER)
        return by * p->targets[k];
    return by;
}

/* Rate and Psi of zero forcing for the users served; -inf where X is singular.  Where the minimum
 * rates do not fit (`fits`), the rate is -log2 of the factor by which they exceed the power, so
 * that ascent makes them fit. */
static num zf_terms(problem *p, const cpx *gram, num noise, cpx *psi, cpx *adjoint, num *price,
                    mask *fits) {
    const idx K = p->K;
    restrict_gram(K, p->served, gram, p->inverse);
    const mask regular = invert(K, p->inverse) > (real)SINGULAR;
    for (idx k = 0; k < K; k++) {
        p->cost[k] = pick(regular, p->inverse[k * K + k].re, NUM(1));
        p->filled[k] = target_of(p, k) * noise;
        p->half[k] = p->weights[k] * p->served[k];
    }
    const num level = fill(K, p->cost, NUM(1), noise, p->half, p->above, p->filled);
    *fits = regular & (level >= 0);
    for (idx k = 0; k < K; k++)
        p->half[k] = root(p->filled[k]);
    scale_columns(K, K, p->half, p->inverse, psi);
    const num divisor = pick(level >= 0, level, NUM(1));
    *price = pick(divisor > 0, (real)(2 * NATURAL) / divisor, NUM(0));
    for (idx i = 0; i < K * K; i++)
        adjoint[i] = scaled(*price, psi[i]);
    for (idx k = 0; k < K; k++)
        p->ratio[k] = p->filled[k] / noise;
    const num rate = rate_of(K, p->ratio, p->weights);
    const num excess = -log_plus_one(pick(level >= 0, NUM(0), -level - 1)) * (real)NATURAL;
    return pick(regular, pick(*fits, rate, excess), NUM(-INFINITY));
}

/* The place of every user in semi-orthogonal order, the largest weighted gain after projecting
 * out those before it: pivoted Cholesky of `gram`, which is spoiled.  Copies of users come last,
 * at places from K on.  gain: what is left of
 * each user's there.  row: workspace. */
static void order_users(idx K, const num *weights, cpx *gram, num *gain, cpx *row, num *place) {
    for (idx k = 0; k < K; k++) {
        gain[k] = gram[k * K + k].re;
        place[k] = NUM(-1);
    }
    for (idx round = 0; round < K; round++) {
        num best = NUM(-1), first = NUM(-1);
        for (idx k = 0; k < K; k++) {
            const num left = larger(gram[k * K + k].re, NUM(0)) * weights[k];
            const mask better = (place[k] < 0) & (left > best);
            best = pick(better, left, best);
            first = pick(better, NUM(k), first);
        }
        num pivot = NUM(0);
        clear(K, row);
        for (idx i = 0; i < K; i++) {
            const mask here = first == (real)i;
            const mask copy = not(gram[i * K + i].re > (real)COPY * gain[i]);
            place[i] = pick(here, pick(copy, NUM(K + round), NUM(round)), place[i]);
            gain[i] = pick(here, pick(copy, NUM(0), gram[i * K + i].re), gain[i]);
            pivot = pick(here, gain[i], pivot);
            for (idx k = 0; k < K; k++)
                row[k] = pick_cpx(here, gram[i * K + k], row[k]);
        }
        const num inverse = pick(pivot > 0, 1 / pivot, NUM(0));
        for (idx r = 0; r < K; r++) {
            const cpx part = scaled(inverse, conjugate(row[r]));
            for (idx c = 0; c < K; c++)
                gram[r * K + c] = minus(gram[r * K + c], times(part, row[c]));
        }
    }
}
