/* The objectives, with their slopes in the rates (docs/mathematics.md, "Objectives").
 *
 * Rates are summed over the channels.  All objectives are at least 0 where minimum rates are met:
 * the weighted sum of the rates; their weighted geometric mean; the lowest rate over its weight;
 * log2 of the power over the least that minimum rates take; the weighted sum over the power used
 * and what else is consumed. */

#define LEAST_RATE 1e-6 /* in the mean of logarithms, so that its slope is finite */
#define LEAST_PART 1e-9 /* of the power */

/* Whether rates are balanced towards goals. */
INLINE int balances(const problem *p) {
    return p->objective == MAX_MIN || p->objective == MIN_POWER;
}

/* Whether users may be left out. */
INLINE int leaves_out(const problem *p) {
    return p->objective == SUM_RATE || p->objective == ENERGY_EFFICIENCY;
}

/* Whether power may be left unused. */
INLINE int saves(const problem *p) {
    return p->objective == ENERGY_EFFICIENCY;
}

/* The slopes of the objective in the rates of a channel, up to a factor that all channels share,
 * where users have `others` in the rest. */
static void find_slopes(const problem *p, const num *rates, const num *others, num *slopes) {
    for (idx k = 0; k < p->K; k++) {
        slopes[k] = p->weights[k];
        if (p->objective == GEOMETRIC_MEAN)
            slopes[k] = slopes[k] / larger(rates[k] + others[k], NUM(LEAST_RATE));
    }
}

/* The objective where `sum` is what its channels gave together, each with slopes as above; that
 * factor.  used: parts of the power, over the channels. */
static num finish_value(const problem *p, num sum, num used, const num *rates, num *factor) {
    const idx K = p->K;
    *factor = NUM(1);
    switch (p->objective) {
    case GEOMETRIC_MEAN: {
        num logs = NUM(0), all = NUM(0);
        for (idx k = 0; k < K; k++) {
            num rate = NUM(0);
            for (idx f = 0; f < p->F; f++)
                rate += rates[f * K + k];
            logs += p->weights[k] * log_ratio(larger(rate, NUM(LEAST_RATE)), NUM(1));
            all += p->weights[k];
        }
        const num mean = exponential(logs / all);
        *factor = mean / all;
        return mean + *factor * sum;
    }
    case MIN_POWER:
        *factor = (real)NATURAL / sum;
        return -log_ratio(sum, NUM(p->F)) * (real)NATURAL;
    case ENERGY_EFFICIENCY:
        *factor = (1 + p->overhead) / (used + p->overhead);
        return *factor * sum;
    default: return sum;
    }
}

/* The part of the power whose marginal rate equals its marginal cost: by Dinkelbach,
 * dR / d log part is the part times the efficiency so far. */
INLINE num useful_part(num slope, num worth) {
    const num part = pick(worth > 0, slope / worth, NUM(1));
    return larger(smaller(part, NUM(1)), NUM(LEAST_PART));
}
