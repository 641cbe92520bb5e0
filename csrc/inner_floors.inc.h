/* General beams under minimum rates, by the dual uplink (docs/mathematics.md, "Minimum rates"). */

#define LEAST_SHARE 1e-6 /* of a user in the dual uplink, from which it can recover */
#define SETTLING 20      /* sweeps until the shares converge */
#define DOMINANT (1 + 512 * EPSILON) /* the diagonal of the system of beta over the rest of its column */
#define SUMMED 1e-3      /* SINR / (1 + SINR) up to which it is summed, and not 1 - 1 / (1 + SINR) */

/* The dual uplink, in which user k sends the share lambda_k of the power. */
typedef struct {
    num *rates, *others, *goals; /* in bits: what users have here, in other channels, and should */
    num *slopes;                 /* of the objective in them */

    num *diagonal; /* T_kk of T = (half X half + ridge)^-1, half = diag(lambda)^{1/2} */
    num *ratio;    /* SINR of its MMSE receivers */
    num *beta;     /* weights of the users for which lambda is stationary */
    num *least;    /* the least share with which each user meets its target */
    num *half, *next, *pull, *ones;
    num *system, *spoiled; /* K x K */
    cpx *directions;       /* half T */
    cpx *signals;          /* half X half */
} dual_uplink;

static void lay_out_dual(problem *p, dual_uplink *d, arena *a) {
    const idx K = p->K;
    num **vectors[] = {&d->rates, &d->others, &d->goals, &d->slopes, &d->diagonal, &d->ratio,
                       &d->beta,  &d->least,  &d->half,  &d->next,   &d->pull,     &d->ones};
    for (int i = 0; i < 12; i++)
        *vectors[i] = TAKE(a, K, num);
    d->system = TAKE(a, K * K, num);
    d->spoiled = TAKE(a, K * K, num);
    d->directions = TAKE(a, K * K, cpx);
    d->signals = TAKE(a, K * K, cpx);
}

static void find_dual(problem *p, dual_uplink *d, const cpx *gram, const num *share) {
    const idx K = p->K;
    num loudest = NUM(0);
    for (idx k = 0; k < K; k++) {
        d->half[k] = root(share[k]);
        loudest = larger(loudest, share[k] * gram[k * K + k].re);
    }
    const num ridge = larger(p->noise, loudest * (real)(4 * EPSILON)); /* over what is rounded */
    for (idx i = 0; i < K; i++)
        for (idx j = 0; j < K; j++) {
            d->signals[i * K + j] = scaled(d->half[i] * d->half[j], gram[i * K + j]);
            d->directions[i * K + j] = d->signals[i * K + j];
            if (i == j)
                d->directions[i * K + j].re += ridge;
        }
    invert(K, d->directions);
    for (idx k = 0; k < K; k++)
        d->diagonal[k] = d->directions[k * K + k].re;
    for (idx k = 0; k < K; k++) {
        num part = NUM(0), others = NUM(0); /* SINR / (1 + SINR) */
        for (idx j = 0; j < K; j++) {
            const cpx t = d->directions[k * K + j], x = d->signals[k * K + j];
            d->system[k * K + j] = -ridge * norm2(t) / d->diagonal[j];
            part += x.re * t.re + x.im * t.im;
            if (j != k)
                others += norm2(t);
        }
        const num rest = 1 - ridge * d->diagonal[k]; /* the same, where the sum cancels */
        part = pick(rest > (real)SUMMED, rest, part);
        /* more than the rest of its column, which rounding hides where noise is all but nothing, so
         * that beta is positive; regular with a zero channel too */
        const num least = (real)DOMINANT * ridge * others / d->diagonal[k];
        d->system[k * K + k] = larger(larger(part, least), NUM(1e-30));
        d->ratio[k] = part / (ridge * d->diagonal[k]);
        d->beta[k] = share[k];
        d->least[k] =
            pick(p->targets[k] > 0, p->targets[k] * share[k] / d->ratio[k], NUM(0));
    }
    memcpy(d->spoiled, d->system, (size_t)(K * K) * sizeof(num));
    eliminate(K, d->spoiled, d->beta);
    for (idx i = 0; i < K; i++)
        for (idx j = 0; j < K; j++)
            d->directions[i * K + j] = scaled(d->half[i], d->directions[i * K + j]);
}

/* Psi that reach in the downlink what the shares reach in the uplink, at the same power. */
static void leave_uplink(const problem *p, dual_uplink *d, cpx *psi) {
    for (idx k = 0; k < p->K; k++)
        d->pull[k] = root(d->beta[k] / d->diagonal[k]);
    scale_columns(p->K, p->K, d->pull, d->directions, psi);
}

/* Psi and C of the gradient of sum_k by pull_k R_k at these shares. */
static void pull_beams(const problem *p, dual_uplink *d, num by, const num *pull, cpx *psi,
                       cpx *adjoint, num *price) {
    for (idx k = 0; k < p->K; k++)
        d->half[k] = root((real)(2 * NATURAL) * by * pull[k] / d->diagonal[k]);
    scale_columns(p->K, p->K, d->half, d->directions, psi);
    memcpy(adjoint, psi, (size_t)(p->K * p->K) * sizeof(cpx));
    *price = NUM(1);
}

/* As zf_terms, for general beams, after sweeps of a fixed point over the shares, in place:
 * lambda_k <- max(mu alpha_k lambda_k / beta_k, least_k), a WMMSE update in the dual uplink where
 * the first is larger, a user held at its minimum rate where the second is; where the least sum to
 * more than one, lambda <- least / sum, which balances SINR over target. */
static num floored_terms(problem *p, dual_uplink *d, const cpx *gram, idx sweeps, num *share,
                         cpx *psi, cpx *adjoint, num *price, mask *fits) {
    const idx K = p->K;
    num level = NUM(0), unit = NUM(0);
    memcpy(d->next, share, (size_t)K * sizeof(num));
    for (idx i = 0; i < most(sweeps, 1); i++) {
        num sum = NUM(0);
        const mask going = level > (real)-INFINITY; /* not where a user hears nothing */
        for (idx k = 0; k < K; k++)
            sum += larger(d->next[k], NUM(LEAST_SHARE));
        for (idx k = 0; k < K; k++)
            share[k] = pick(going, larger(d->next[k], NUM(LEAST_SHARE)) / sum, share[k]);
        find_dual(p, d, gram, share);
        for (idx k = 0; k < K; k++)
            d->rates[k] = log_plus_one(d->ratio[k]) * (real)NATURAL;
        find_slopes(p, d->rates, d->others, d->slopes);
        for (idx k = 0; k < K; k++) {
            d->ones[k] = NUM(1);
            d->next[k] = d->least[k];
            d->pull[k] = d->slopes[k] * share[k] / d->beta[k];
        }
        level = fill(K, d->ones, NUM(1), NUM(0), d->pull, p->above, d->next);
    }
    num rate = NUM(0);
    *fits = level >= 0;
    for (idx k = 0; k < K; k++)
        unit += d->beta[k] * d->ratio[k] / (1 + d->ratio[k]);
    for (idx k = 0; k < K; k++) {
        /* users at their minimum pull with their multipliers */
        const num held = d->beta[k] * d->next[k] / (share[k] * level);
        const num own = d->rates[k];
        d->pull[k] = pick(level > 0, held, pick(level < 0, d->beta[k] / unit, d->slopes[k]));
        if (p->objective != GEOMETRIC_MEAN)
            rate += d->slopes[k] * own;
        rate += pick(level > 0, (held - d->slopes[k]) * (own - p->floors[k]), NUM(0));
    }
    if (psi)
        pull_beams(p, d, NUM(1), d->pull, psi, adjoint, price);
    const num excess = -log_plus_one(pick(*fits, NUM(0), -level - 1)) * (real)NATURAL;
    return pick(*fits, rate, excess);
}

/* Settled shares, from equal ones. */
static void initialize_floored(problem *p, dual_uplink *d, const cpx *gram, num *share) {
    mask fits;
    for (idx k = 0; k < p->K; k++) {
        share[k] = NUM(1) / (real)p->K;
        d->others[k] = NUM(0);
    }
    floored_terms(p, d, gram, SETTLING, share, NULL, NULL, NULL, &fits);
}

/* What beams Y Psi take of the power as the multipliers weigh it and, in `first`, of the limit that
 * they reach first; leaves A in p->received. */
static num find_reach(problem *p, const cpx *gram, const cpx *psi, num *first) {
    const idx K = p->K, L = p->L;
    multiply(K, K, K, gram, psi, p->received);
    const num counted = *first = inner_product(K * K, psi, p->received);
    if (!p->limited)
        return counted;
    multiply(L, K, K, p->carrier, psi, p->beams);
    find_spent(p, p->beams, p->spent);
    *first = largest_spent(p, p->spent);
    multiply(K, L, K, p->effective, p->beams, p->received); /* of V itself, which is rounded */
    return counted;
}

/* Psi of the shares, and the powers to be given to it that meet the minimum rates exactly; the rate, or
 * where there are none (`fits`) log2 of the worst SINR over target.  The least powers that meet them, scaled up to a
 * limit, still do; in a mixture of those with the powers of the shares the SINR constraints are
 * linear, so the smallest mixture that meets them all is known.  The noise, and that of the uplink,
 * `louder`, is over the part of the power, which grows where the least powers need more of it, and is
 * theirs if the least power is asked for. */
static num meet_floors(problem *p, dual_uplink *d, const cpx *gram, const num *share, num louder,
                       num *part, cpx *psi, num *powers, mask *fits) {
    const idx K = p->K;
    cpx *received = p->received;
    const num noise = p->noise;
    p->noise = louder;
    find_dual(p, d, gram, share);
    p->noise = noise;
    leave_uplink(p, d, psi);
    num first, low = NUM(INFINITY), worst = NUM(0), mixture = NUM(0);
    const num counted = find_reach(p, gram, psi, &first);
    const num reach = larger(counted, *part * first);
    const num unit = pick(counted > 0, 1 / root(reach), NUM(0));
    scale(K * K, unit, psi);
    find_reach(p, gram, psi, &first);
    for (idx k = 0; k < K; k++) {
        for (idx j = 0; j < K; j++) {
            const num gain = norm2(received[k * K + j]);
            d->system[k * K + j] = -p->targets[k] * gain;
            if (j == k)
                d->system[k * K + k] = larger(gain, NUM(1e-30));
        }
        d->least[k] = p->targets[k] * noise;
        const num short_by = p->targets[k] / d->ratio[k];
        worst = smaller(worst, pick(short_by > 1, -log_plus_one(short_by - 1), NUM(0)));
    }
    memcpy(d->spoiled, d->system, (size_t)(K * K) * sizeof(num));
    eliminate(K, d->spoiled, d->least);
    for (idx k = 0; k < K; k++) {
        d->pull[k] = root(larger(d->least[k], NUM(0)));
        low = smaller(low, d->least[k]);
    }
    scale_columns(K, K, d->pull, psi, p->spare);
    const num needed = find_reach(p, gram, p->spare, &first);
    *fits = (counted > 0) & (low >= 0) & (*part * first <= 1);
    const mask alone = *fits & (every(p->objective == MIN_POWER) | (needed > 1));
    const num whole = pick(alone, needed, larger(needed, *part * first));
    for (idx k = 0; k < K; k++) {
        num margin = -p->targets[k] * noise, better = margin;
        for (idx j = 0; j < K; j++) {
            margin += d->system[k * K + j];
            better += d->system[k * K + j] * d->least[j] / whole;
        }
        mixture = larger(mixture, pick(margin < 0, margin / (margin - better), NUM(0)));
    }
    mixture = pick(alone, NUM(1), mixture);
    for (idx k = 0; k < K; k++)
        powers[k] = pick(*fits, (1 - mixture) + mixture * d->least[k] / whole, NUM(1));
    for (idx k = 0; k < K; k++)
        d->pull[k] = root(powers[k]);
    find_reach(p, gram, psi, &first);
    scale_columns(K, K, d->pull, received, received);
    *part = *part * pick(alone, needed, NUM(1));
    find_links(p, received, noise / pick(alone, needed, NUM(1)));
    const num rate = rate_of(K, p->ratio, p->weights);
    return pick(*fits, rate, pick(counted > 0, worst * (real)NATURAL, NUM(-INFINITY)));
}
