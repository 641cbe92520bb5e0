/* The rate over the amplitudes alone, with the best beams following, and its ascent
 * (docs/mathematics.md, "Variable projection"). */

#define MEMORY 1       /* steps of the quasi-Newton memory */
#define LEAST_BEND 0.05 /* regularisation: this part of the mean curvature is added to each */
#define RECENT 5       /* rates in the window of the nonmonotone line search */
#define FIRST_MOVE 0.2 /* of the first step, in the element with the largest gradient */
#define HEADROOM 10    /* of m under `radiated` power, whose scale is free */
#define SHORTEST 1e-6  /* step of a line search */
#define PARTS 8        /* sweeps until parts of the power, or of balanced rates, have converged */

enum { ZERO_FORCING, GENERAL }; /* the stages */
/* Where an evaluation begins: from the beams in place, with the parts of the power found anew, or at
 * the entry into the general stage, from zero-forced beams too. */
enum { WARM, PARTS_ANEW, ENTERING };

/* The beams of every channel: Psi or, under minimum rates, shares of the dual uplink. */
typedef struct {
    cpx *psi;   /* F x K x K */
    num *share; /* F x K */
    num *rates; /* F x K, in the dual uplink */
    num *powers; /* F x K, which minimum rates give to Psi at the end */
    num *split; /* F x K, the channels' parts of minimum rates and of balanced ones */
    num *value; /* F, of what a channel balances */
    num *part;  /* F, of the power that is used */
    num *theta; /* F x (L + 1): multipliers of the limits of the feeds */
    num *worth; /* bits per power, so far */
} inner;

typedef struct {
    vec *m, *trial, *direction, *gradient, *trial_gradient, *bent;
    vec *bend, *scale; /* curvature of the radiated power in each element; one over it */
    vec *moves[MEMORY], *changes[MEMORY]; /* of m and of minus the gradient, the latest first */
    inner at, tried, best_inner;
    vec *best;
    num noise; /* of this ascent, at least the problem's */
    num best_rate, made;
    mask converged;
    dual_uplink dual;
    num *prices; /* F x K: of a bit in the channels */
    num *trace;     /* the rate of each iterate, as many as are recorded */
    idx traced;     /* room there */
} ascent;

static inner take_inner(const problem *p, arena *a) {
    inner i = {TAKE(a, p->F * p->K * p->K, cpx), TAKE(a, p->F * p->K, num),
               TAKE(a, p->F * p->K, num), TAKE(a, p->F * p->K, num), TAKE(a, p->F * p->K, num),
               TAKE(a, p->F, num), TAKE(a, p->F, num),
               TAKE(a, p->limited ? p->F * (p->L + 1) : 0, num), TAKE(a, 1, num)};
    return i;
}

static void lay_out_ascent(problem *p, ascent *s, arena *a) {
    vec **vectors[] = {&s->m, &s->trial, &s->direction, &s->gradient, &s->trial_gradient,
                       &s->bent, &s->best, &s->bend, &s->scale};
    for (int i = 0; i < 9; i++)
        *vectors[i] = TAKE(a, p->n, vec);
    for (int i = 0; i < MEMORY; i++) {
        s->moves[i] = TAKE(a, p->n, vec);
        s->changes[i] = TAKE(a, p->n, vec);
    }
    s->at = take_inner(p, a);
    s->tried = take_inner(p, a);
    s->best_inner = take_inner(p, a);
    s->trace = TAKE(a, s->traced, num);
    s->prices = TAKE(a, p->F * p->K, num);
    lay_out_dual(p, &s->dual, a);
}

static void pick_inner(const problem *p, mask which, inner from, inner to) {
    pick_nums(2 * p->F * p->K * p->K, which, (const num *)from.psi, (num *)to.psi);
    if (p->dual) {
        pick_nums(p->F * p->K, which, from.share, to.share);
        pick_nums(p->F * p->K, which, from.rates, to.rates);
        pick_nums(p->F * p->K, which, from.powers, to.powers);
    }
    if (splits(p)) {
        pick_nums(p->F * p->K, which, from.split, to.split);
        pick_nums(p->F, which, from.value, to.value);
    }
    if (p->limited)
        pick_nums(p->F * (p->L + 1), which, from.theta, to.theta);
    if (p->objective != SUM_RATE) {
        pick_nums(p->F, which, from.part, to.part);
        pick_nums(1, which, from.worth, to.worth);
    }
}

static num dot(idx n, const vec *a, const vec *b) {
    vec sum[2] = {{0}};
    idx i = 0;
    for (; i + 2 <= n; i += 2)
        for (int j = 0; j < 2; j++)
            sum[j] += a[i + j] * b[i + j];
    if (i < n)
        sum[0] += a[i] * b[i];
    return total(sum[0] + sum[1]);
}

/* The sum over the channels where those are the lanes. */
static num over_channels(const problem *p, num x) {
    if (p->lanes != CHANNELS)
        return x;
    real sum = 0;
    for (idx lane = 0; lane < LANES; lane++)
        sum += get(x, lane);
    return NUM(sum);
}

/* The same of an element. */
INLINE void add_channels(const problem *p, vec *x) {
    if (p->lanes == CHANNELS)
        *x = spread(over_channels(p, total(*x)));
}

/* Writes rates of the lanes of `which` at their own places in the trace. */
static void record(num *trace, idx traced, mask which, num at, num rate) {
    for (idx lane = 0; lane < LANES; lane++) {
        const idx i = (idx)get(at, lane);
        if (holds(which, lane) && i < traced)
            set(&trace[i], lane, get(rate, lane));
    }
}

/* ---- the function and its gradient */

/* G, Y and X of channel f, whose minimum rates hold from here on.  Without any radiating element
 * all but G are zero. */
static void whiten(problem *p, idx f, const vec *m, int radiated) {
    const idx K = p->K, L = p->L;
    enter_channel(p, f);
    find_effective(p, f, m, p->effective);
    if (radiated) {
        find_feed_gram(p, f, m, p->sums, p->feeds);
        whiten_by(p);
        gram_of_columns(L, K, p->whitened, p->gram);
    } else {
        adjoint_of(K, L, p->effective, p->carrier);
        gram_of_rows(K, L, p->effective, p->gram);
    }
}

/* G and S of channel f, where limits of the feeds hold. */
static void gather_feeds(problem *p, idx f, const vec *m) {
    const idx L = p->L;
    enter_channel(p, f);
    find_effective(p, f, m, p->effective);
    if (p->radiated) {
        find_feed_gram(p, f, m, p->sums, p->power_gram);
        return;
    }
    clear(L * L, p->power_gram);
    for (idx l = 0; l < L; l++)
        p->power_gram[l * L + l].re = NUM(1);
}

/* Y', Y and X of channel f under the limits of the problem, with their multipliers if feeds have
 * some. */
static void whiten_within(problem *p, idx f, const vec *m, const num *theta) {
    if (!p->limited) {
        whiten(p, f, m, p->radiated);
        return;
    }
    gather_feeds(p, f, m);
    whiten_under(p, theta);
}

/* Adds the gradient in channel f of beams V with the adjoint C: of each n,
 * Re sum_k conj(H_kn) [C V^H]_kl conj(Phi_nl) and, under `radiated` power, less
 * price m_n |Phi_n V|^2, whose curvature price |Phi_n V|^2 is added to `bend` if asked; complex
 * weights have the derivative in their states. */
static void add_gradient(problem *p, idx f, const vec *m, const cpx *beams, const cpx *adjoint,
                         num price, num counts, vec *gradient, vec *bend) {
    const idx K = p->K, L = p->L;
    const vec weight = spread(counts), paid = spread(counts * price);
    multiply_right_dagger(K, K, L, adjoint, beams, p->omega);
    pull_back(p, f, p->omega, p->slope);
    for (idx i = 0; i < p->n; i++)
        gradient[i] += weight * p->free[i] * p->slope[i];
    if (!p->radiated)
        return;
    gram_of_rows(L, K, beams, p->radiating);
    pull_back_feeds(p, f, p->radiating, p->sums, p->slope);
    for (idx i = 0; i < p->n; i++) {
        const vec own = paid * p->slope[i];
        gradient[i] -= p->free[i] * half_slope(p, i, m) * own;
        if (bend)
            bend[i] += own;
    }
}

/* The part of the power that channel f uses. */
INLINE num part_of(const problem *p, inner at, idx f) {
    if (p->objective == SUM_RATE) /* whose inner variables do without it */
        return NUM(1);
    return at.part[f];
}

/* The noise over that. */
INLINE num noise_for(const problem *p, num noise, inner at, idx f) {
    if (!saves(p))
        return noise;
    return noise / at.part[f];
}

/* What users have in the channels but f. */
static void find_others(const problem *p, dual_uplink *d, idx f, const num *rates) {
    memset(d->others, 0, (size_t)p->K * sizeof(num));
    for (idx g = 0; g < p->F; g++)
        for (idx k = 0; g != f && k < p->K; k++)
            d->others[k] += rates[g * p->K + k];
}

/* Settled shares of a start. */
static void initialize_dual(problem *p, ascent *s, idx f, inner at) {
    num *share = at.share + f * p->K;
    const num noise = p->noise;
    p->noise = noise_for(p, noise, at, f);
    if (balances(p))
        initialize_balanced(p, &s->dual, p->gram, share);
    else
        initialize_floored(p, &s->dual, p->gram, share);
    p->noise = noise;
}

/* The contribution of channel f to the objective at beams in place, with C, the price and, in the general
 * stage, the Psi that they belong to (`beams`). */
static num channel_terms(problem *p, ascent *s, int stage, idx f, idx sweeps, inner at,
                         cpx **beams, num *price, mask *fits) {
    cpx *psi = at.psi + f * p->K * p->K;
    num *share = at.share + f * p->K;
    *beams = psi;
    *fits = every(1);
    if (stage == ZERO_FORCING)
        return zf_terms(p, p->gram, noise_for(p, s->noise, at, f), psi, p->adjoint, price, fits);
    if (!p->dual)
        return general_terms(p, p->gram, noise_for(p, s->noise, at, f), sweeps, psi, p->adjoint,
                             price);
    *beams = p->spare;
    const num noise = p->noise;
    p->noise = noise_for(p, s->noise, at, f);
    num sum;
    find_others(p, &s->dual, f, at.rates);
    if (balances(p))
        sum = balanced_terms(p, &s->dual, p->gram, sweeps, share, *beams, p->adjoint, price, fits);
    else
        sum = floored_terms(p, &s->dual, p->gram, sweeps, share, *beams, p->adjoint, price, fits);
    memcpy(at.rates + f * p->K, s->dual.rates, (size_t)p->K * sizeof(num));
    memcpy(s->prices + f * p->K, s->dual.least, (size_t)p->K * sizeof(num));
    p->noise = noise;
    return sum;
}

/* What the beams in p->beams take of the limits, in p->spent, at the power that they have; the least
 * power itself is `rate`. */
static void find_spent_by(problem *p, idx f, inner at, num rate, mask fits) {
    num part = part_of(p, at, f);
    if (p->objective == MIN_POWER)
        part = pick(fits, rate, part);
    find_spent(p, p->beams, p->spent);
    take_part(p, at.theta + f * (p->L + 1), part, p->spent);
}

/* The multipliers that follow p->spent, which is lost; power that may be saved always counts. */
static void aim_multipliers(problem *p, num *theta, mask fits) {
    for (idx l = 1; p->objective == MIN_POWER && l <= p->L; l++)
        p->spent[l] *= (real)(1 + MARGIN);
    if (saves(p) || p->objective == MIN_POWER)
        p->spent[0] = pick(fits, larger(p->spent[0], NUM(1)), p->spent[0]);
    rebalance(p, theta, p->spent);
}

/* Sweeps of the beams of channel f; after each follow the multipliers of the limits, and the part of
 * the power that is useful: dR / d log part is half the price of the power of the beams.  alike: power
 * is worth what it is in this channel.  Under minimum rates, at which the price of power jumps, the
 * part moves half of the way, and to what they need. */
static void settle(problem *p, ascent *s, int stage, idx f, inner at, idx sweeps, int alike) {
    const idx K = p->K;
    num *theta = at.theta + f * (p->L + 1);
    for (idx i = 0; i < sweeps && !stopped(p->shape); i++) {
        cpx *beams;
        num price, used = part_of(p, at, f);
        mask fits;
        if (p->limited)
            whiten_under(p, theta);
        /* the dual uplink moves its shares between sweeps */
        const num rate = channel_terms(p, s, stage, f, p->dual ? 2 : 1, at, &beams, &price, &fits);
        if (p->limited) {
            multiply(p->L, K, K, p->carrier, beams, p->beams);
            find_spent_by(p, f, at, rate, fits);
            price *= theta[0];
            used = p->spent[0];
            aim_multipliers(p, theta, fits);
        }
        if (!saves(p))
            continue;
        multiply(K, K, K, p->gram, beams, p->received);
        const num slope = (real)0.5 * price * inner_product(K * K, beams, p->received);
        if (alike)
            *at.worth = rate / (used + p->overhead / (real)p->F);
        const num needed = smaller(at.part[f] * exponential(rate * (real)(-1 / NATURAL)), NUM(1));
        const num useful = pick(fits, useful_part(slope, *at.worth), needed);
        at.part[f] = p->floored ? root(at.part[f] * useful) : useful;
    }
}

/* What channel f contributes under the limits of the feeds, after `rate` from channel_terms, with the
 * beams also as V in p->beams, and the power used.  Beams that exceed a limit count at as much more
 * noise.  The least power has the slopes of what the multipliers weigh, over that of the power. */
static num limited_terms(problem *p, ascent *s, int stage, idx f, inner at, num rate, num *price,
                         num *used, mask *fits) {
    num *theta = at.theta + f * (p->L + 1);
    const num noise = s->noise, power = theta[0];
    const mask met = *fits;
    cpx *beams;
    find_spent_by(p, f, at, rate, met);
    const num excess = find_excess(p, p->spent), taken = p->spent[0];
    aim_multipliers(p, theta, met);
    s->noise = noise * excess;
    num value = channel_terms(p, s, stage, f, 0, at, &beams, price, fits);
    s->noise = noise;
    multiply(p->L, p->K, p->K, p->carrier, beams, p->beams);
    *price *= power;
    *used = taken / excess;
    if (p->objective == MIN_POWER) {
        const mask both = met & *fits;
        const num by = pick(both, 1 / power, NUM(1));
        value = pick(both, value * taken / rate, value);
        *price *= by;
        scale(p->K * p->K, by, p->adjoint);
    }
    return value;
}

/* The objective at m, its gradient, and the beams in place.  entering: with parts of the power that
 * are iterated anew, or also from the better of two starts of the general stage.  As long as minimum
 * rates do not fit in every channel, it is the sum over those where they do not. */
static num evaluate(problem *p, ascent *s, int stage, int entering, const vec *m, inner at,
                    vec *gradient) {
    const idx K = p->K, L = p->L;
    const idx once = p->dual ? 2 : 1; /* sweeps that move the beams */
    const idx sweeps = saves(p) ? 0 : p->limited ? least(p->sweeps, once) : p->sweeps;
    idx rounds = 0;
    if (saves(p))
        rounds = entering ? PARTS : p->sweeps - p->limited;
    else if (p->limited && stage == GENERAL)
        rounds = entering && p->dual ? REBALANCINGS : p->sweeps - once;
    num sum = NUM(0), fit = NUM(1), used = NUM(0);
    memset(gradient, 0, (size_t)p->n * sizeof(vec));
    if (p->radiated)
        memset(s->bend, 0, (size_t)p->n * sizeof(vec));
    for (idx f = 0; f < p->F; f++) {
        cpx *beams;
        num price = NUM(0), *theta = at.theta + f * (L + 1);
        mask fits;
        whiten_within(p, f, m, theta);
        if (splits(p))
            ask_parts(p, at.split + f * K);
        if (entering == ENTERING && p->dual)
            initialize_dual(p, s, f, at);
        else if (entering == ENTERING)
            initialize_general(p, p->gram, noise_for(p, s->noise, at, f), at.psi + f * K * K);
        settle(p, s, stage, f, at, rounds, entering || p->F == 1);
        if (p->limited && rounds > 0)
            whiten_under(p, theta);
        num taken = part_of(p, at, f);
        num rate = channel_terms(p, s, stage, f, sweeps, at, &beams, &price, &fits);
        multiply(L, K, K, p->carrier, beams, p->beams);
        if (p->limited)
            rate = limited_terms(p, s, stage, f, at, rate, &price, &taken, &fits);
        num counts = channel_in_use(p, f);
        if (p->dual) {
            const mask first_short = (fit > 0) & not(fits);
            const lanes anew = spread_mask(first_short);
            sum = pick(first_short, NUM(0), sum);
            fit = pick(first_short, NUM(0), fit);
            for (idx i = 0; f > 0 && i < p->n; i++)
                gradient[i] = choose(anew, (vec){0}, gradient[i]);
            for (idx i = 0; f > 0 && i < p->n; i++)
                s->bend[i] = choose(anew, (vec){0}, s->bend[i]);
            counts = pick(fits & not(fit > 0), NUM(0), counts);
        }
        if (splits(p)) {
            rate = rate * at.value[f];
            counts = counts * at.value[f];
        }
        sum += pick(counts > 0, rate, NUM(0));
        used += taken;
        add_gradient(p, f, m, p->beams, p->adjoint, price, counts, gradient, s->bend);
    }
    for (idx i = 0; i < p->n; i++)
        add_channels(p, &gradient[i]);
    for (idx i = 0; p->radiated && i < p->n; i++)
        add_channels(p, &s->bend[i]);
    if (splits(p) && stage == GENERAL)
        move_parts(p, at.rates, s->prices, at.split, at.value);
    if (p->objective == SUM_RATE)
        return over_channels(p, sum);
    num factor;
    const mask met = fit > 0;
    const num value = finish_value(p, sum, used, at.rates, &factor);
    const vec by = spread(pick(met, factor, NUM(1)));
    *at.worth = sum / (used + p->overhead);
    for (idx i = 0; i < p->n; i++) {
        gradient[i] *= by;
        if (p->radiated)
            s->bend[i] *= by;
    }
    return pick(met, value, sum);
}

/* ---- steps */

/* The move from m to m + step * along as far as the box allows, and its slope.  Circles have no
 * box. */
static num aim_step(const problem *p, const vec *m, const vec *gradient, num step,
                    const vec *along, num top, vec *direction) {
    const vec length = spread(step), upper = spread(top);
    vec slope = {0};
    for (idx i = 0; i < p->n; i++) {
        const vec move = length * along[i];
        direction[i] = either(p->element, move, clip(m[i] + move, upper) - m[i]);
        slope += direction[i] * gradient[i];
    }
    return total(slope);
}

/* Preconditioner: one over each element's curvature of the radiated power, up to a common factor.
 * The curvature differs widely: the reference waves add up in some elements and cancel in others. */
static void find_scale(const problem *p, ascent *s) {
    vec sum = {0};
    for (idx i = 0; i < p->n; i++) {
        s->scale[i] = VEC(1);
        if (p->radiated)
            sum += s->bend[i];
    }
    const num mean = larger(total(sum) * (1 / (real)p->N), NUM(1 / HUGE_REAL));
    const vec top = spread(mean), least_bend = spread(mean * (real)LEAST_BEND);
    for (idx i = 0; p->radiated && i < p->n; i++)
        s->scale[i] = top / (s->bend[i] + least_bend);
}

/* The L-BFGS direction: the gradient times the inverse curvature along the last steps, from the
 * diagonal `scale`.  Amplitudes that the gradient pushes against their bound are left out. */
static void quasi_newton(const problem *p, const ascent *s, num step, vec *to) {
    const idx n = p->n;
    const vec lowest = VEC(p->element ? -HUGE_REAL : 0);
    num curvature[MEMORY], share[MEMORY];
    const vec zero = {0};
#define FREE(i, x) choose((s->m[i] > lowest) | (s->gradient[i] > zero), x, zero)
    for (idx i = 0; i < n; i++)
        to[i] = FREE(i, s->gradient[i]);
    for (int row = 0; row < MEMORY; row++) {
        const vec *move = s->moves[row], *change = s->changes[row];
        vec product = zero, along = zero, size = zero;
        for (idx i = 0; i < n; i++) {
            const vec c = FREE(i, change[i]);
            product += move[i] * c;
            along += move[i] * to[i];
            size += s->scale[i] * c * c;
        }
        curvature[row] = total(product);
        const mask bends = curvature[row] > 0;
        if (row == 0)
            step = pick(bends, curvature[row] / total(size), step);
        share[row] = pick(bends, total(along) / curvature[row], NUM(0));
        const vec back = spread(share[row]);
        for (idx i = 0; i < n; i++)
            to[i] -= back * FREE(i, change[i]);
    }
    const vec length = spread(step);
    for (idx i = 0; i < n; i++)
        to[i] *= length * s->scale[i];
    for (int row = MEMORY - 1; row >= 0; row--) {
        const num by = share[row] - dot(n, s->changes[row], to) / curvature[row];
        const vec forth = spread(pick(curvature[row] > 0, by, NUM(0)));
        for (idx i = 0; i < n; i++)
            to[i] += forth * FREE(i, s->moves[row][i]);
    }
#undef FREE
}

#define SWAP(type, a, b)  \
    do {                  \
        type kept_ = a;   \
        a = b;            \
        b = kept_;        \
    } while (0)

/* Remembers the move from m to the trial in the lanes of `which`, and returns the next step. */
static num remember(idx n, ascent *s, mask which, mask open, int quasi) {
    const lanes here = spread_mask(which);
    vec *oldest = s->moves[MEMORY - 1], *oldest_change = s->changes[MEMORY - 1];
    vec size = {0}, product = {0};
    if (quasi && all(which | not(open))) {
        for (int row = MEMORY - 1; row > 0; row--) {
            s->moves[row] = s->moves[row - 1];
            s->changes[row] = s->changes[row - 1];
        }
        s->moves[0] = oldest;
        s->changes[0] = oldest_change;
    } else if (quasi) {
        for (int row = MEMORY - 1; row > 0; row--)
            for (idx i = 0; i < n; i++) {
                s->moves[row][i] = choose(here, s->moves[row - 1][i], s->moves[row][i]);
                s->changes[row][i] = choose(here, s->changes[row - 1][i], s->changes[row][i]);
            }
    }
    for (idx i = 0; i < n; i++) {
        const vec move = s->trial[i] - s->m[i];
        const vec change = s->gradient[i] - s->trial_gradient[i];
        size += move * move;
        product += move * change;
        if (quasi) {
            s->moves[0][i] = choose(here, move, s->moves[0][i]);
            s->changes[0][i] = choose(here, change, s->changes[0][i]);
        }
    }
    const num curvature = total(product), step = total(size) / curvature;
    return pick(curvature > 0, smaller(larger(step, NUM(1e-8)), NUM(1e4)), NUM(100));
}

/* The maximiser of the parabola through the rate, its slope and the rate at `length`, kept between
 * a tenth and a half of it. */
INLINE num shorter(num length, num slope, num rate, num reached) {
    const num bend = 2 * (rate + length * slope - reached);
    const num best = length * (length * slope / bend);
    return larger((real)0.1 * length, pick(best < (real)0.5 * length, best, (real)0.5 * length));
}

/* Nonmonotone projected ascent from s->m and s->at in the lanes of `open`: spectral or, in the
 * general stage under `radiated` power, quasi-Newton.  All lanes evaluate their trials together;
 * each accepts, halves its step or finishes on its own.  The best amplitudes, beams and rate are
 * left in s->best, s->best_inner and s->best_rate, the iterations in s->made; rates are recorded
 * from place `from` on.  Returns whether it was told to stop. */
static int ascend(problem *p, ascent *s, int stage, mask open, idx iterations, num tolerance,
                  num from) {
    const idx n = p->n;
    const int scale_free = p->radiated && !p->limited; /* feeds need less for larger m */
    const num top = pick(every(scale_free) & p->all_move, NUM(HEADROOM), NUM(1));
    const int quasi = p->element || (p->radiated && stage == GENERAL);
    num recent[RECENT];
    num rate = evaluate(p, s, stage, stage == GENERAL ? ENTERING : PARTS_ANEW, s->m, s->at,
                        s->gradient);
    for (idx i = 0; stage == GENERAL && splits(p) && i < PARTS; i++)
        rate = evaluate(p, s, stage, WARM, s->m, s->at, s->gradient);
    memcpy(s->best, s->m, (size_t)n * sizeof(vec));
    pick_inner(p, every(1), s->at, s->best_inner);
    s->best_rate = rate;
    s->made = NUM(0);
    s->converged = every(0);
    record(s->trace, s->traced, open, from, rate);
    open &= is_finite(rate);
    recent[0] = rate;
    for (int i = 1; i < RECENT; i++)
        recent[i] = NUM(INFINITY);
    for (int row = 0; row < MEMORY; row++) {
        memset(s->moves[row], 0, (size_t)n * sizeof(vec));
        memset(s->changes[row], 0, (size_t)n * sizeof(vec));
    }
    vec high = {0};
    for (idx i = 0; i < n; i++) {
        const vec size = choose(s->gradient[i] < 0, -s->gradient[i], s->gradient[i]);
        high = choose(size > high, size, high);
    }
    const num steepest = largest(high);
    num step = pick(steepest > 0, (real)FIRST_MOVE / steepest, NUM(1));
    num length = NUM(1), slope = NUM(0);
    mask fresh = every(1), moved = every(0); /* lanes that need a direction, and that have one */
    for (;;) {
        open &= not(s->made >= (real)iterations);
        if (any(fresh & open)) {
            const num ahead = aim_step(p, s->m, s->gradient, step, s->gradient, top, s->trial);
            const mask flat = fresh & open & not(ahead > tolerance);
            s->converged |= flat;
            open &= not(flat);
            pick_elements(n, fresh, s->trial, s->direction);
            slope = pick(fresh, ahead, slope);
            const mask curved = fresh & moved;
            if (quasi && any(curved & open)) {
                find_scale(p, s);
                quasi_newton(p, s, step, s->bent);
                const num bent =
                    aim_step(p, s->m, s->gradient, NUM(1), s->bent, top, s->trial);
                const mask rising = curved & (bent > tolerance);
                pick_elements(n, rising, s->trial, s->direction);
                slope = pick(rising, bent, slope);
            }
            length = pick(fresh, NUM(1), length);
        }
        if (!any(open))
            return 0;
        if (stopped(p->shape))
            return 1;
        const vec far = spread(length);
        for (idx i = 0; i < n; i++)
            s->trial[i] = s->m[i] + far * s->direction[i];
        pick_inner(p, every(1), s->at, s->tried);
        const num reached = evaluate(p, s, stage, WARM, s->trial, s->tried, s->trial_gradient);
        num worst = recent[0];
        for (int i = 1; i < RECENT; i++)
            worst = smaller(worst, recent[i]);
        /* Within the rounding error of the rate. */
        const num asked = worst + (real)1e-4 * length * slope - 4 * EPSILON * worst;
        fresh = open & (reached >= asked);
        s->made += pick(open, NUM(1), NUM(0));
        record(s->trace, s->traced, open, from + s->made, pick(fresh, reached, recent[0]));
        length = pick(fresh, length, shorter(length, slope, recent[0], reached));
        const mask stuck = open & not(fresh) & (length < (real)SHORTEST);
        s->converged |= stuck;
        open &= not(stuck);
        if (!any(fresh))
            continue;
        moved |= fresh;
        step = pick(fresh, remember(n, s, fresh, open, quasi), step);
        if (all(fresh | not(open))) { /* the content of finished lanes does not matter */
            SWAP(vec *, s->m, s->trial);
            SWAP(vec *, s->gradient, s->trial_gradient);
            SWAP(inner, s->at, s->tried);
        } else {
            pick_elements(n, fresh, s->trial, s->m);
            pick_elements(n, fresh, s->trial_gradient, s->gradient);
            pick_inner(p, fresh, s->tried, s->at);
        }
        for (int i = RECENT - 1; i > 0; i--)
            recent[i] = pick(fresh, recent[i - 1], recent[i]);
        recent[0] = pick(fresh, reached, recent[0]);
        const mask better = fresh & (reached > s->best_rate);
        if (any(better)) {
            s->best_rate = pick(better, reached, s->best_rate);
            pick_elements(n, better, s->m, s->best);
            pick_inner(p, better, s->at, s->best_inner);
        }
    }
}
