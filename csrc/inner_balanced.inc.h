/* Balanced rates, by Newton's method in the dual uplink
 * (docs/mathematics.md, "Balanced rates"). */

#define LONGEST_STEP 1 /* of log lambda */
#define RESETTLING 4   /* sweeps at another noise */
#define LOUDER 8       /* noises that are tried until beams reach a limit of the feeds just so */
#define BALANCED (sizeof(real) == 4 ? 1e-5 : 1e-12) /* relative gap of balanced rates */
#define WIDE 0.5       /* gap from which Newton's method may fail */

#define LEAST_BITS 1e-12  /* of a user in a channel, from which its part can recover */
#define LEAST_SPLIT 1e-7  /* the same of a part */
#define LEAST_PRICE 1e-30 /* of a bit */
#define FITS 3            /* sweeps of what power is worth in each channel */

/* Users who are heard and have a weight where rates are `shared`, or else a minimum rate, send
 * what they would need alone, or parts of a power of one in that ratio; the others nothing. */
static num start_shares(const problem *p, const cpx *gram, int shared, num *share) {
    num sum = NUM(0);
    for (idx k = 0; k < p->K; k++) {
        const num gain = gram[k * p->K + k].re;
        const mask weighs = every(shared) & (p->weights[k] > 0);
        const num wanted =
            pick(p->targets[k] > 0, p->targets[k], pick(weighs, NUM(1), NUM(0)));
        share[k] = pick(gain > 0, wanted * p->noise / gain, NUM(0));
        sum += share[k];
    }
    for (idx k = 0; shared && k < p->K; k++)
        share[k] = pick(sum > 0, share[k] / sum, NUM(0));
    return sum;
}

/* Goals max(alpha_k t, f_k) of the rates: t is such that they take all of the power, to first
 * order; without `shared` it is 0.  Floors f_k that alone take more are scaled down together.
 * Where rounding hides what power is worth t is that of the sum of the rates.  Returns t, or minus
 * the factor by which the floors exceed the power, and whether it was hidden. */
static num find_goals(problem *p, dual_uplink *d, const num *share, num power, int shared,
                      mask *hidden) {
    const idx K = p->K;
    num budget = power, weighed = NUM(0), sum = NUM(0);
    for (idx k = 0; k < K; k++) {
        const num worth = d->beta[k] / (real)NATURAL; /* power for a bit */
        d->rates[k] = log_plus_one(d->ratio[k]) * (real)NATURAL;
        d->goals[k] = pick(share[k] > 0, p->floors[k], NUM(0));
        d->pull[k] = pick(every(shared) & (share[k] > 0), p->balancing[k] * worth, NUM(0));
        d->least[k] = worth;
        budget += worth * d->rates[k] - share[k];
        weighed += pick(share[k] > 0, p->balancing[k], NUM(0));
        sum += pick(p->balancing[k] > 0, d->rates[k], NUM(0));
    }
    const num level = fill(K, d->least, budget, NUM(0), d->pull, p->above, d->goals);
    *hidden = every(shared) & (level == 0) & (weighed > 0);
    const num common = sum / pick(*hidden, weighed, NUM(1));
    for (idx k = 0; k < K; k++) {
        const num goal = larger(p->balancing[k] * common, p->floors[k]);
        d->goals[k] = pick(*hidden, pick(share[k] > 0, goal, NUM(0)), d->goals[k]);
    }
    return pick(*hidden, common, level);
}

/* The step of log lambda that brings all rates to their goals, to first order, in d->next: J step =
 * D gap, where J = d log(1 + SINR) / d log lambda is the transpose of the system of beta and D =
 * SINR / (1 + SINR) its diagonal.  The gap is log(goal / rate) and what is linear beside it, which
 * is log of the SINR's ratio to second order.  Returns the largest gap. */
static num find_step(problem *p, dual_uplink *d, const num *share) {
    const idx K = p->K;
    num widest = NUM(0);
    for (idx k = 0; k < K; k++) {
        const mask held = (d->goals[k] > 0) & (d->rates[k] > 0) & (share[k] > 0);
        const num goal = pick(held, d->goals[k], NUM(1)), rate = pick(held, d->rates[k], NUM(1));
        const num own = d->system[k * K + k];
        const num gap =
            log_ratio(goal, rate) + (goal - rate) * (1 / (own * (real)NATURAL) - 1 / rate);
        d->next[k] = pick(held, own * gap, NUM(0));
        widest = larger(widest, larger(d->next[k], -d->next[k]) / own);
        for (idx j = 0; j < K; j++)
            d->spoiled[k * K + j] = d->system[j * K + k];
    }
    eliminate(K, d->spoiled, d->next);
    return widest;
}

/* In d->next, in the lanes of `slow`, log(goal / rate), which under a power that is kept always leads
 * to the goals, but slowly: lambda_k / rate_k grows with all shares and is concave in them (Nuzman,
 * IEEE J. Sel. Areas Commun. 25, 2007). */
static void find_slow_step(problem *p, dual_uplink *d, const num *share, mask slow) {
    for (idx k = 0; k < p->K; k++) {
        const mask held = (d->goals[k] > 0) & (d->rates[k] > 0) & (share[k] > 0);
        const num goal = pick(held, d->goals[k], NUM(1)), rate = pick(held, d->rates[k], NUM(1));
        d->next[k] = pick(slow, log_ratio(goal, rate), d->next[k]);
    }
}

/* exp(step) to second order, the step clipped to the longest. */
INLINE num grown(num step) {
    const num cut = smaller(larger(step, NUM(-LONGEST_STEP)), NUM(LONGEST_STEP));
    return (2 + cut) / (2 - cut);
}

/* Takes the step in the lanes of `going`: its mean (the total power) and the remainder are clipped
 * separately.  Where all of the power is `spent` shares keep their sum. */
static void take_step(problem *p, dual_uplink *d, mask spent, mask going, num power, num *share) {
    const idx K = p->K;
    num mean = NUM(0), sum = NUM(0);
    for (idx k = 0; k < K; k++) {
        mean += share[k] * d->next[k];
        sum += share[k];
    }
    mean = pick(sum > 0, mean / sum, NUM(0));
    const num together = grown(mean);
    sum = NUM(0);
    for (idx k = 0; k < K; k++) {
        d->next[k] = share[k] * together * grown(d->next[k] - mean);
        sum += d->next[k];
    }
    const num by = pick((sum > 0) & (spent | (sum > power)), power / sum, NUM(1));
    for (idx k = 0; k < K; k++)
        share[k] = pick(going, by * d->next[k], share[k]);
}

/* Sweeps of Newton's method over the shares, in place, with the dual uplink of the last: the rates
 * go to max(alpha_k t, f_k) at a power of one if `shared`, or to f_k at the least power up to
 * `power`.  Slow steps follow where a wide gap has grown, as with copies of users at high SNR, until
 * it is narrow.  Returns t, 0 or minus the excess, and the largest gap that is left. */
static num balance(problem *p, dual_uplink *d, const cpx *gram, idx sweeps, int shared, num power,
                   num *share, num *gap) {
    num level = NUM(0), last = NUM(INFINITY);
    mask slow = every(0);
    for (idx i = 0;; i++) {
        mask hidden;
        find_dual(p, d, gram, share);
        level = find_goals(p, d, share, power, shared, &hidden);
        *gap = find_step(p, d, share);
        slow = hidden | ((*gap > (real)WIDE) & (slow | (*gap > last)));
        last = *gap;
        const mask going = *gap > (real)BALANCED;
        if (i + 1 >= sweeps || !any(going) || stopped(p->shape))
            return level;
        if (any(slow))
            find_slow_step(p, d, share, slow);
        take_step(p, d, every(shared) | (level < 0), going, power, share);
    }
}

/* As floored_terms, of the balanced rates: t, or the least power.  The slope of either in a rate is
 * its worth: what the dual uplink pays for a bit. */
static num balanced_terms(problem *p, dual_uplink *d, const cpx *gram, idx sweeps, num *share,
                          cpx *psi, cpx *adjoint, num *price, mask *fits) {
    const idx K = p->K;
    const int shared = p->objective == MAX_MIN;
    num gap, used = NUM(0), pulled = NUM(0), paid = NUM(0);
    const num level = balance(p, d, gram, sweeps, shared, NUM(1), share, &gap);
    *fits = level >= 0;
    for (idx k = 0; k < K; k++) {
        used += share[k] + d->least[k] * (d->goals[k] - d->rates[k]);
        pulled += pick(p->above[k] > 0, p->balancing[k] * d->least[k], NUM(0));
        paid += d->least[k] * d->rates[k];
    }
    const num met = pick(every(shared), 1 / pulled, NUM(1));
    const num by = pick(*fits, met, (real)NATURAL / paid);
    if (psi)
        pull_beams(p, d, by / (real)NATURAL, d->beta, psi, adjoint, price);
    const num excess = -log_plus_one(pick(*fits, NUM(0), -level - 1)) * (real)NATURAL;
    return pick(*fits, pick(every(shared), level, used), excess);
}

/* Shares of balanced rates, from what users would need alone. */
static void initialize_balanced(problem *p, dual_uplink *d, const cpx *gram, num *share) {
    num gap, sum = start_shares(p, gram, p->objective == MAX_MIN, share);
    for (idx k = 0; p->objective == MIN_POWER && k < p->K; k++)
        share[k] = pick(sum > 1, share[k] / sum, share[k]);
    balance(p, d, gram, SETTLING, p->objective == MAX_MIN, NUM(1), share, &gap);
}

/* Whether the channels' parts of balanced rates move as the amplitudes do.  With more users than
 * feeds they decide who is served where, too early for that; so they do under `digital` power where
 * weights differ much. */
INLINE int splits(const problem *p) {
    const int free = p->radiated && !p->limited;
    return free && p->F > 1 && p->K <= p->L && p->objective == MAX_MIN;
}

/* Smaller parts (F, K) in the channels where a bit costs a user more, and the value of what each
 * balances, in sum one (docs/mathematics.md, "Several channels").  Prices are in the power of each
 * channel, of a worth that makes them alike. */
static void move_parts(problem *p, const num *rates, num *prices, num *split, num *value) {
    const idx F = p->F, K = p->K;
    num *mean = p->filled, sum = NUM(0);
    for (idx i = 0; i < F * K; i++) {
        split[i] = larger(rates[i], NUM(LEAST_BITS));
        prices[i] = larger(prices[i], NUM(LEAST_PRICE));
    }
    for (idx f = 0; f < F; f++)
        value[f] = NUM(1);
    for (idx i = 0;; i++) {
        for (idx k = 0; k < K; k++) {
            num bits = NUM(0), paid = NUM(0);
            for (idx f = 0; f < F; f++) {
                bits += split[f * K + k];
                paid += split[f * K + k] * value[f] * prices[f * K + k];
            }
            mean[k] = paid / bits;
        }
        if (i == FITS)
            break;
        for (idx f = 0; f < F; f++) {
            num worth = NUM(0), paid = NUM(0);
            for (idx k = 0; k < K; k++) {
                worth += split[f * K + k] * mean[k];
                paid += split[f * K + k] * prices[f * K + k];
            }
            value[f] = worth / paid;
        }
    }
    for (idx k = 0; k < K; k++) {
        num all = NUM(0);
        for (idx f = 0; f < F; f++) {
            num *part = &split[f * K + k];
            const num cheaper = log_ratio(mean[k], value[f] * prices[f * K + k]);
            *part = *part * grown(cheaper / (1 + *part / (real)NATURAL));
            all += *part;
        }
        for (idx f = 0; f < F; f++)
            split[f * K + k] = larger(split[f * K + k] / all, NUM(LEAST_SPLIT));
    }
    for (idx f = 0; f < F; f++) {
        num worth = NUM(0);
        for (idx k = 0; k < K; k++)
            worth += p->weights[k] * split[f * K + k] * prices[f * K + k];
        value[f] = value[f] * worth;
        sum += value[f];
    }
    for (idx f = 0; f < F; f++)
        value[f] = value[f] / sum;
}
