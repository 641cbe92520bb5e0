/* Limits on the power of each feed, besides the total (docs/mathematics.md, "Feed limits"). */

#define LEAST_MULTIPLIER 1e-6 /* from which it can recover */
#define MARGIN 1e-3           /* of the limits that stays free where the least power meets minimum rates */
#define REBALANCINGS 15       /* sweeps until warm-started multipliers have converged, */
#define ANEW 60               /* and those from equal ones */

static void start_multipliers(const problem *p, num *theta) {
    for (idx l = 0; p->limited && l <= p->L; l++)
        theta[l] = NUM(1 / (real)(p->L + 1));
}

/* Y' = C^-1 G^H and Y = C^-H Y' with G in p->effective, where p->feeds is C C^H, which is lost;
 * without any power both are zero. */
static void whiten_by(problem *p) {
    const idx K = p->K, L = p->L;
    num guard = NUM(0);
    for (idx l = 0; l < L; l++)
        guard += p->feeds[l * L + l].re;
    guard *= (real)GUARD / (real)L;
    for (idx l = 0; l < L; l++)
        p->feeds[l * L + l].re += guard;
    const mask dark = not((cholesky(L, p->feeds) > 0) & (guard > 0));
    adjoint_of(K, L, p->effective, p->whitened);
    solve_lower(L, K, p->feeds, p->whitened);
    memcpy(p->carrier, p->whitened, (size_t)(L * K) * sizeof(cpx));
    solve_upper(L, K, p->feeds, p->carrier);
    clear_where(dark, L * K, p->whitened);
    clear_where(dark, L * K, p->carrier);
}

/* Y', Y and X in the metric weighted by the multipliers, with S in p->power_gram.  Under `digital`
 * power it is diagonal. */
static void whiten_under(problem *p, const num *theta) {
    const idx K = p->K, L = p->L;
    if (p->radiated) {
        for (idx i = 0; i < L * L; i++)
            p->feeds[i] = scaled(theta[0], p->power_gram[i]);
        for (idx l = 0; l < L; l++)
            p->feeds[l * L + l].re += theta[l + 1] * p->feed_cost[l];
        whiten_by(p);
    } else {
        adjoint_of(K, L, p->effective, p->whitened);
        for (idx l = 0; l < L; l++) {
            const num by = 1 / root(theta[0] + theta[l + 1] * p->feed_cost[l]);
            scale(K, by, p->whitened + l * K);
            for (idx i = l * K; i < (l + 1) * K; i++)
                p->carrier[i] = scaled(by, p->whitened[i]);
        }
    }
    gram_of_columns(L, K, p->whitened, p->gram);
}

/* What V takes of the power and of the limit of each feed, L + 1. */
static void find_spent(problem *p, const cpx *beams, num *spent) {
    const idx K = p->K, L = p->L;
    multiply(L, L, K, p->power_gram, beams, p->whitened);
    spent[0] = inner_product(L * K, beams, p->whitened);
    for (idx l = 0; l < L; l++)
        spent[l + 1] = p->feed_cost[l] * inner_product(K, beams + l * K, beams + l * K);
}

/* Its sum weighted by the multipliers. */
static num count_spent(const problem *p, const num *theta, const num *spent) {
    num counted = NUM(0);
    for (idx l = 0; l <= p->L; l++)
        counted += theta[l] * spent[l];
    return counted;
}

static num largest_spent(const problem *p, const num *spent) {
    num top = spent[0];
    for (idx l = 1; l <= p->L; l++)
        top = larger(spent[l], top);
    return top;
}

/* The same of beams scaled to a part of the power that the multipliers weigh, in place. */
static void take_part(const problem *p, const num *theta, num part, num *spent) {
    const num counted = count_spent(p, theta, spent);
    for (idx l = 0; l <= p->L; l++)
        spent[l] = pick(counted > 0, spent[l] * (part / counted), part);
}

/* The factor by which beams exceed a limit. */
static num find_excess(const problem *p, const num *spent) {
    return larger(largest_spent(p, spent), NUM(1));
}

/* One multiplicative update of the multipliers: larger where the limit is exceeded.  The power 3/8 is
 * 3/4 in the dual uplink. */
static void rebalance(const problem *p, num *theta, const num *spent) {
    const num top = largest_spent(p, spent), by = pick(top > 0, 1 / top, NUM(0));
    for (idx l = 0; l <= p->L; l++) {
        const num half = root(by * spent[l]), fourth = root(half);
        theta[l] *= fourth * (p->dual ? half : root(fourth));
    }
    const num sum = total_of(p->L + 1, theta), share = pick(sum > 0, 1 / sum, NUM(0));
    for (idx l = 0; l <= p->L; l++)
        theta[l] = larger(share * theta[l], NUM(LEAST_MULTIPLIER));
    const num all = total_of(p->L + 1, theta);
    for (idx l = 0; l <= p->L; l++)
        theta[l] /= all;
}
