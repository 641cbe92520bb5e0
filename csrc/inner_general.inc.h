/* General beams by WMMSE sweeps (docs/mathematics.md, "WMMSE"). */

/* SINR under which a user is dropped, before its beam becomes denormal. */
#define FAINT (sizeof(real) == 4 ? 1e-12 : 1e-60)
/* Rate over the others' that zero forcing of a part of the users must have, which it drops early. */
#define CROWDED 2

/* (diag(a)^{1/2} X diag(a)^{1/2} + c I)^-1 of the links found, c = noise sum(a), in p->inverse, with
 * diag(a)^{1/2} (half) and t = alpha w u / diag(a)^{1/2} (aim).  Returns c; where there is nothing to
 * improve it is one, and `useful` ends. */
INLINE num find_system(problem *p, const cpx *gram, num noise, mask *useful) {
    const idx K = p->K;
    num sum = NUM(0);
    for (idx k = 0; k < K; k++) {
        const num total = p->disturbance[k] * (1 + p->ratio[k]);
        const num gain = p->weights[k] * (1 + p->ratio[k]);
        const mask heard = (p->ratio[k] > (real)FAINT) & (gain > 0);
        const num inverse_total = 1 / total;
        const num half = root(p->weights[k] * p->ratio[k] * inverse_total);
        p->half[k] = pick(heard, half, NUM(0));
        p->inverse_half[k] = pick(heard, 1 / half, NUM(0));
        p->aim[k] = scaled(gain * inverse_total * p->inverse_half[k], p->own[k]);
        sum += p->half[k] * p->half[k];
    }
    const num ridge = noise * sum;
    *useful &= (ridge > 0) & is_finite(ridge);
    const num regular = pick(*useful, ridge, NUM(1));
    for (idx i = 0; i < K; i++)
        for (idx j = i; j < K; j++) {
            const num factor = p->half[i] * p->half[j];
            p->inverse[i * K + j] = scaled(factor, gram[i * K + j]);
            if (i == j)
                p->inverse[i * K + j].re += regular;
        }
    invert(K, p->inverse);
    return regular;
}

/* Psi <- (diag(a) X + c I)^-1 diag(alpha w u), with u and w of the links found, by the Hermitian
 * inverse above.  The A = X Psi that the new beams reach needs no product: X half = half^-1
 * (system - c I), so it follows from the inverse; only its diagonal, where that difference may
 * cancel, is summed.  Returns where there was anything to improve; elsewhere Psi and A stay. */
static mask wmmse_update(problem *p, const cpx *gram, num noise, cpx *psi, cpx *received,
                         mask wanted) {
    const idx K = p->K;
    mask useful = wanted;
    const num regular = find_system(p, gram, noise, &useful);
    const cpx *inverse = p->inverse;
    for (idx i = 0; i < K; i++) {
        const num away = -regular * p->inverse_half[i];
        for (idx j = 0; j < K; j++) {
            const cpx column = times(inverse[i * K + j], p->aim[j]);
            const cpx beam = scaled(p->half[i], column), reached = scaled(away, column);
            cpx *at = psi + i * K + j, *to = received + i * K + j;
            *at = pick_cpx(useful, beam, *at);
            *to = pick_cpx(useful, reached, *to);
        }
    }
    for (idx i = 0; i < K; i++) {
        cpx own = {NUM(0), NUM(0)};
        for (idx j = 0; j < K; j++)
            add(&own, times(gram[i * K + j], psi[j * K + i]));
        received[i * K + i] = pick_cpx(useful, own, received[i * K + i]);
    }
    return useful;
}

/* The links that such an update leads to, without its beams, which the next one does not need: all
 * that they reach are sizes of the entries of the inverse. */
static void wmmse_links(problem *p, const cpx *gram, num noise, mask *useful) {
    const idx K = p->K;
    const num regular = find_system(p, gram, noise, useful);
    num power = NUM(0);
    memset(p->disturbance, 0, (size_t)K * sizeof(num));
    for (idx j = 0; j < K; j++) {
        const num size = norm2(p->aim[j]);
        num own = NUM(0), others = NUM(0);
        for (idx i = 0; i < K; i++) {
            const cpx x = gram[j * K + i], y = p->inverse[j * K + i];
            own += p->half[i] * (x.re * y.re + x.im * y.im);
            if (i == j)
                continue;
            others += norm2(y);
            p->disturbance[i] += size * norm2(y);
        }
        power += size * (p->half[j] * p->inverse[j * K + j].re * own - regular * others);
        p->own[j] = scaled(own, p->aim[j]);
        p->signal[j] = size * own * own;
    }
    for (idx k = 0; k < K; k++) {
        const num away = regular * p->inverse_half[k];
        p->disturbance[k] = away * away * p->disturbance[k] + noise * power;
        p->ratio[k] = p->signal[k] / p->disturbance[k];
    }
    *useful &= power > 0;
}

/* Rate of Psi after some sweeps of it in place; C and the price where not NULL. */
static num general_terms(problem *p, const cpx *gram, num noise, idx sweeps, cpx *psi, cpx *adjoint,
                         num *price) {
    const idx K = p->K;
    cpx *received = p->received;
    multiply(K, K, K, gram, psi, received);
    num power = inner_product(K * K, psi, received);
    find_links(p, received, noise * power);
    mask useful = power > 0;
    for (idx i = 1; i < sweeps && !stopped(p->shape); i++)
        wmmse_links(p, gram, noise, &useful);
    if (sweeps > 0) {
        wmmse_update(p, gram, noise, psi, received, useful);
        power = inner_product(K * K, psi, received);
        find_links(p, received, noise * power);
    }
    for (idx k = 0; k < K; k++)
        p->ratio[k] = pick(p->signal[k] > 0, p->ratio[k], p->signal[k]);
    if (adjoint)
        *price = noise * rate_adjoint(p, received, adjoint);
    return pick(power > 0, rate_of(K, p->ratio, p->weights), 0 * power);
}

/* Psi of the matched beams of the users served; a zero channel gets no beam. */
static void match(const problem *p, const cpx *gram, cpx *psi) {
    const idx K = p->K;
    clear(K * K, psi);
    for (idx k = 0; k < K; k++) {
        const num gain = gram[k * K + k].re;
        psi[k * K + k].re = pick(gain > 0, p->served[k] / root(gain), NUM(0));
    }
}

/* Takes Psi of another start where it is better after two sweeps. */
static num try_start(problem *p, const cpx *gram, num noise, num best, cpx *other, cpx *psi) {
    const num rate = general_terms(p, gram, noise, 2, other, NULL, NULL);
    const mask better = (rate > best) | not(best == best);
    pick_nums(2 * p->K * p->K, better, (const num *)other, (num *)psi);
    return pick(better, rate, best);
}

/* Zero forcing of as many of the users served as it can serve: the first in semi-orthogonal order. */
static num force_first(problem *p, const cpx *gram, num noise, cpx *psi) {
    const idx K = p->K;
    num price, *all = p->served, *first = p->disturbance;
    mask fits;
    for (idx k = 0; k < K; k++)
        p->half[k] = p->weights[k] * all[k];
    memcpy(p->inverse, gram, (size_t)(K * K) * sizeof(cpx));
    order_users(K, p->half, p->inverse, p->cost, p->aim, first);
    for (idx k = 0; k < K; k++)
        first[k] = pick(first[k] < (real)least(K, p->L), all[k], NUM(0));
    p->served = first;
    const num rate = zf_terms(p, gram, noise, psi, p->adjoint, &price, &fits);
    p->served = all;
    return rate;
}

/* Where the general stage begins: the best after two sweeps of Psi as given, matched beams and zero
 * forcing, in place.  A sweep cannot revive a beam without power, keeps a weak user for long, and
 * nulls interference slowly: which start is right depends on the SNR. */
static void initialize_general(problem *p, const cpx *gram, num noise, cpx *psi) {
    cpx *other = p->spare;
    num best = general_terms(p, gram, noise, 2, psi, NULL, NULL);
    match(p, gram, other);
    best = try_start(p, gram, noise, best, other, psi);
    const mask some = force_first(p, gram, noise, other) > (real)-INFINITY;
    clear_where(not(some), p->K * p->K, other);
    const mask crowded = total_of(p->K, p->served) > (real)p->L;
    best = pick(crowded, best * (real)CROWDED, best);
    try_start(p, gram, noise, best, other, psi);
}
