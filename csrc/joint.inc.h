/* Variable projection: amplitudes and beams together (docs/mathematics.md, "Variable projection").
 */

#define DELIVERED 0.15 /* part of a user's residual gain that counts when sets of users are compared */
#define TRIAL 3        /* inverse part of their share after which FURTHER candidates go on */
#define FURTHER 4      /* one less under `digital` power */
#define LEAST_WEIGHT 1e-12 /* where nobody with a weight has a channel */
#define APART 1e-5     /* relative difference of rates that single precision resolves */
#define GOLDEN_RATIO 0.6180339887498949
#define TURN 6.283185307179586
/* How many users more than the likeliest number the candidates serve, in turns; one serves all. */
static const real MORE[] = {0, -1, 0, 1, INFINITY, -1, 1, 2};
#define TURNS ((idx)(sizeof MORE / sizeof *MORE))

/* Where an ascent ended, with its rate. */
typedef struct {
    vec *m;
    inner beams;
    num *rate, *made;
    mask *converged;
} endpoint;

static endpoint take_endpoint(const problem *p, arena *a) {
    endpoint e = {TAKE(a, p->n, vec), take_inner(p, a), TAKE(a, 1, num), TAKE(a, 1, num),
                  TAKE(a, 1, mask)};
    return e;
}

static void store_best(const problem *p, const ascent *s, endpoint e) {
    memcpy(e.m, s->best, (size_t)p->n * sizeof(vec));
    pick_inner(p, every(1), s->best_inner, e.beams);
    *e.rate = s->best_rate;
    *e.converged = s->converged;
}

static void pick_endpoint(const problem *p, mask which, endpoint from, endpoint to) {
    pick_elements(p->n, which, from.m, to.m);
    pick_inner(p, which, from.beams, to.beams);
    *to.rate = pick(which, *from.rate, *to.rate);
    *to.made = pick(which, *from.made, *to.made);
    *to.converged = (*from.converged & which) | (*to.converged & not(which));
}

/* Continues from an endpoint. */
static void go_to(const problem *p, ascent *s, endpoint e) {
    memcpy(s->m, e.m, (size_t)p->n * sizeof(vec));
    pick_inner(p, every(1), e.beams, s->at);
}

/* Psi of one user, who receives most alone: better than nothing in a channel where the search, over
 * all of them, ended without beams.  Users without a weight come last. */
static void serve_strongest(const problem *p, cpx *psi) {
    const idx K = p->K;
    num most = NUM(0), which = NUM(-1);
    for (idx k = 0; k < K; k++) {
        const num worth = (p->weights[k] + (real)LEAST_WEIGHT) * p->gram[k * K + k].re;
        which = pick(worth > most, NUM(k), which);
        most = pick(worth > most, worth, most);
    }
    clear(K * K, psi);
    for (idx k = 0; k < K; k++)
        psi[k * K + k].re = pick(which == (real)k, 1 / root(p->gram[k * K + k].re), NUM(0));
}

/* V = Y Psi of the best endpoint, scaled to the power, over all channels; the rates are those of
 * the V written.  Under minimum rates that are not met the rate stays the measure of how far. */
static void store_solution(problem *p, ascent *s, endpoint e, int met_floors, idx rebalancings,
                           void *const *out) {
    const idx K = p->K, L = p->L, n = p->n;
    vec top = {0};
    for (idx i = 0; i < n; i++)
        top = choose(e.m[i] > top, e.m[i], top);
    const num highest = larger(largest(top), NUM(1));
    const vec inverse = spread(1 / highest);
    for (idx i = 0; i < n; i++)
        s->trial[i] = either(p->element, e.m[i], e.m[i] * inverse);
    num sum = NUM(0);
    for (idx f = 0; f < p->F; f++) {
        const num noise = p->noise;
        num *theta = e.beams.theta + f * (L + 1);
        whiten_within(p, f, s->trial, theta);
        if (p->limited && !p->dual) {
            settle(p, s, GENERAL, f, e.beams, rebalancings, p->F == 1);
            whiten_under(p, theta);
        }
        num part = part_of(p, e.beams, f);
        multiply(L, K, K, p->carrier, e.beams.psi + f * K * K, p->beams);
        for (idx k = 0; p->dual && k < K; k++)
            p->half[k] = root(e.beams.powers[f * K + k]);
        if (p->dual)
            scale_columns(L, K, p->half, p->beams, p->beams);
        if (p->limited) {
            find_spent(p, p->beams, p->spent);
            take_part(p, theta, part, p->spent);
            part = smaller(largest_spent(p, p->spent), NUM(1));
        }
        const mask dark = not(inner_product(L * K, p->beams, p->beams) > 0);
        if (p->objective == SUM_RATE && !p->limited && any(dark)) {
            serve_strongest(p, p->spare);
            multiply(L, K, K, p->carrier, p->spare, p->whitened);
            pick_nums(2 * L * K, dark, (const num *)p->whitened, (num *)p->beams);
        }
        p->noise = noise / part;
        sum += channel_in_use(p, f) * scale_to_power(p, f, s->trial, p->beams);
        p->noise = noise;
        for (idx i = 0; i < L * K; i++)
            p->beams[i] = scaled(p->size * root(part), p->beams[i]);
        write_matrix(p, p->beams, L * K, out[TO_DIGITAL], f);
    }
    const mask rated = every(!met_floors) | (*e.rate >= 0);
    const num rate = weigh(p, pick(rated, over_channels(p, sum), *e.rate));
    if (out[TO_AMPLITUDES])
        write_amplitudes(p, s->trial, out[TO_AMPLITUDES]);
    write_ends(p, rate, *e.made, *e.converged, s->trace, s->traced, out);
}

/* From the shares of an endpoint to Psi that meets the minimum rates, with its rate over all
 * channels, in the lanes of `which`.  Under limits of the feeds the shares settle at the noise that
 * makes up for the first limit that their beams exceed. */
static void leave_dual(problem *p, ascent *s, endpoint e, mask which, idx rebalancings) {
    const idx K = p->K;
    num sum = NUM(0), fit = NUM(1), used = NUM(0), factor;
    for (idx f = 0; f < p->F; f++) {
        num *share = e.beams.share + f * K;
        cpx *psi = s->tried.psi + f * K * K;
        num *theta = e.beams.theta + f * (p->L + 1);
        mask fits;
        whiten_within(p, f, e.m, theta);
        if (splits(p))
            ask_parts(p, e.beams.split + f * K);
        if (p->limited) {
            settle(p, s, GENERAL, f, e.beams, rebalancings, p->F == 1);
            whiten_under(p, theta);
        }
        const num noise = p->noise, own = noise_for(p, noise, e.beams, f);
        num part = part_of(p, e.beams, f), rate = NUM(0), louder = own;
        for (idx i = 0; i < (p->limited && p->objective != MIN_POWER ? LOUDER : 1); i++) {
            p->noise = louder;
            if (balances(p)) {
                rate = balanced_terms(p, &s->dual, p->gram, 2 * SETTLING, share, NULL, NULL, NULL,
                                      &fits);
            } else {
                find_others(p, &s->dual, f, e.beams.rates);
                rate = floored_terms(p, &s->dual, p->gram, i ? RESETTLING : SETTLING, share, NULL, NULL,
                                     NULL, &fits);
            }
            leave_uplink(p, &s->dual, psi);
            if (!p->limited)
                continue;
            multiply(p->L, K, K, p->carrier, psi, p->beams);
            find_spent(p, p->beams, p->spent);
            take_part(p, theta, part, p->spent);
            louder = own * find_excess(p, p->spent);
        }
        louder = p->noise;
        p->noise = own;
        num *powers = s->tried.powers + f * K;
        for (idx k = 0; k < K; k++)
            powers[k] = NUM(1);
        if (p->floored && (p->limited || !balances(p)))
            rate = meet_floors(p, &s->dual, p->gram, share, louder, &part, psi, powers, &fits);
        else if (p->objective == MIN_POWER)
            part = total_of(K, share);
        p->noise = noise;
        e.beams.part[f] = pick(which, part, part_of(p, e.beams, f));
        used += part;
        const mask first_short = (fit > 0) & not(fits);
        sum = pick(first_short, NUM(0), sum);
        fit = pick(first_short, NUM(0), fit);
        sum += pick(fits & not(fit > 0), NUM(0), rate);
    }
    if (saves(p))
        sum = pick(fit > 0, finish_value(p, sum, used, e.beams.rates, &factor), sum);
    pick_nums(2 * p->F * K * K, which, (const num *)s->tried.psi, (num *)e.beams.psi);
    pick_nums(p->F * K, which, s->tried.powers, e.beams.powers);
    *e.rate = pick(which, sum, *e.rate);
}

/* The candidates of a problem: nested sets of users in semi-orthogonal order, of about the size that
 * promises most, each from starts of its own that are fitted to its channels. */
typedef struct {
    num *place;         /* of every user in the order */
    vec *start;         /* given states */
    idx number;
    num *count, *turn;  /* of every candidate: users, and earlier candidates that have as many; */
    num *first;         /* the place of the first user served */
    num *rating;
    cpx *metrics, *gram;
    endpoint *forced;   /* where the zero-forcing stage of each candidate ended */
    endpoint *reached;  /* where its share of the general stage ended */
    num **traces;       /* rates of its zero-forcing stage */
    idx traced;         /* as many as are recorded */
    endpoint chosen, chosen_forced, best;
    mask unfit;         /* where single precision was not enough */
    num *gain;
    cvec *heard;        /* n x K */
    vec *ones;          /* n */
} candidates;

static void lay_out_candidates(problem *p, candidates *c, idx runs, arena *a) {
    const idx K = p->K;
    c->count = TAKE(a, c->number, num);
    c->turn = TAKE(a, c->number, num);
    c->first = TAKE(a, c->number, num);
    c->place = TAKE(a, K, num);
    c->gain = TAKE(a, K, num);
    c->start = TAKE(a, p->n, vec);
    c->rating = TAKE(a, runs, num);
    c->heard = TAKE(a, p->n * K, cvec);
    c->ones = TAKE(a, p->n, vec);
    c->metrics = TAKE(a, p->F * K * K, cpx);
    c->gram = TAKE(a, K * K, cpx);
    c->forced = TAKE(a, runs, endpoint);
    c->reached = TAKE(a, runs, endpoint);
    c->traces = TAKE(a, runs, num *);
    for (idx i = 0; i < runs; i++) {
        const endpoint forced = take_endpoint(p, a), reached = take_endpoint(p, a);
        num *trace = TAKE(a, c->traced, num);
        if (!a->memory)
            continue;
        c->forced[i] = forced;
        c->reached[i] = reached;
        c->traces[i] = trace;
    }
    c->chosen = take_endpoint(p, a);
    c->chosen_forced = take_endpoint(p, a);
    c->best = take_endpoint(p, a);
}

/* Determines the order of the users; under minimum rates all are served. */
static void order_candidates(problem *p, candidates *c) {
    const idx K = p->K;
    cpx *sum = c->gram;
    clear(K * K, sum);
    for (idx f = 0; f < p->F; f++) {
        const num counts = channel_in_use(p, f);
        find_channel_gram(p, f, p->spare);
        for (idx i = 0; i < K * K; i++) {
            const cpx own = scaled(counts, p->spare[i]);
            sum[i] = (cpx){sum[i].re + own.re, sum[i].im + own.im};
        }
    }
    for (idx i = 0; p->lanes == CHANNELS && i < K * K; i++)
        sum[i] = (cpx){over_channels(p, sum[i].re), over_channels(p, sum[i].im)};
    if (!p->radiated && p->element != GIVEN) { /* the channel gain says little about what the
                                                * surface delivers */
        for (idx i = 0; i < p->n; i++)
            c->ones[i] = VEC(1);
        find_solo_gains(p, c->heard, c->ones, p->cost);
        for (idx k = 0; k < K; k++) {
            const num own = sum[k * K + k].re;
            p->half[k] = pick(own > 0, root(p->cost[k] / own), NUM(0));
        }
        for (idx i = 0; i < K * K; i++)
            sum[i] = scaled(p->half[i / K] * p->half[i % K], sum[i]);
    }
    order_users(K, p->weights, sum, c->gain, p->aim, c->place);
    c->unfit = every(0);
    for (idx k = 0; k < K; k++)
        c->unfit |= c->place[k] >= (real)K; /* a copy, maybe to single precision alone */
    for (idx k = 0; p->dual && k < K; k++)
        c->place[k] = NUM(0);
}

/* Whether the objective wants a user served at all. */
INLINE num wanted(const problem *p, idx k) {
    switch (p->objective) {
    case MIN_POWER: return pick(p->targets[k] > 0, NUM(1), NUM(0));
    case MAX_MIN: return pick((p->weights[k] > 0) | (p->targets[k] > 0), NUM(1), NUM(0));
    default: return NUM(1);
    }
}

/* Determines whom the candidates serve: the first users in the order, about as many as have the
 * highest sum rate of an estimate in which each receives a part of its residual gain; one after the
 * other where they serve one. */
static void choose_sets(problem *p, candidates *c, idx candidates) {
    const idx K = p->K;
    num highest = NUM(-1), likeliest = NUM(K), apart = NUM(0); /* users who are no copies */
    for (idx k = 0; k < K; k++)
        apart += pick(c->place[k] < (real)K, NUM(1), NUM(0));
    for (idx users = 1; candidates > 1 && users <= least(K, p->L); users++) {
        const num share = (real)DELIVERED / (p->noise * (real)(users * p->shape->channels));
        for (idx k = 0; k < K; k++)
            p->ratio[k] = pick(c->place[k] < (real)users, share * c->gain[k], NUM(0));
        const num rate = rate_of(K, p->ratio, p->weights);
        likeliest = pick(rate > highest, NUM(users), likeliest);
        highest = larger(rate, highest);
    }
    for (idx i = 0; i < candidates; i++) {
        c->count[i] = larger(smaller(likeliest + MORE[i % TURNS], apart), NUM(1));
        c->turn[i] = NUM(0);
        for (idx j = 0; j < i; j++)
            c->turn[i] += pick(c->count[j] == c->count[i], NUM(1), NUM(0));
        c->first[i] = pick((c->count[i] == 1) & (c->turn[i] < apart), c->turn[i], NUM(0));
    }
}

/* What an array of the candidates has for one. */
static num of_candidate(const candidates *c, const num *array, num candidate) {
    num found = array[0];
    for (idx i = 1; i < c->number; i++)
        found = pick(candidate == (real)i, array[i], found);
    return found;
}

/* The start of a candidate: after the first of a set, the states are moved on by multiples of the
 * golden ratio, which are spread evenly over [0, 1) or the circle. */
static void start_candidate(problem *p, const candidates *c, num candidate, vec *m) {
    memcpy(m, c->start, (size_t)p->n * sizeof(vec));
    const num turns = of_candidate(c, c->turn, candidate);
    real *state = (real *)m;
    for (idx lane = 0; lane < LANES; lane++) {
        const double turn = (double)get(turns, lane);
        for (idx n = 0; turn > 0 && n < p->N; n++) {
            const double on = turn * (double)(n + 1) * GOLDEN_RATIO;
            const real move = (real)(on - floor(on));
            real *at = &state[n * LANES + lane];
            if (p->element)
                *at += (real)TURN * move;
            else
                *at += *at + move < 1 ? move : move - 1;
        }
    }
    for (idx i = 0; i < p->n; i++)
        m[i] = choose(p->free[i] > 0, m[i], c->start[i]);
}

/* Serves the users of a candidate. */
static void serve(problem *p, const candidates *c, num candidate) {
    const num first = of_candidate(c, c->first, candidate);
    const num end = first + of_candidate(c, c->count, candidate);
    for (idx k = 0; k < p->K; k++)
        p->served[k] = pick((c->place[k] >= first) & (c->place[k] < end), wanted(p, k), NUM(0));
}

typedef struct {
    idx zf_iterations, iterations, prelude, trial, candidates, finalists, rebalancings;
    num tolerance;
} budget;

/* Noise of the general stage's share: with less to gain from nulls, users are not dropped early.
 * Under `digital` power it is four times the true noise where zero forcing gives each user several
 * bit/s/Hz, and falls to the true noise at low SNR, where leaving users out is right. */
static num prelude_noise(const problem *p, num forced, num served) {
    if (p->radiated || is_alone(p))
        return p->noise;
    const num each = forced / (served * (real)p->shape->channels), square = each * each;
    const num share = pick(is_finite(square), square / (1 + square), NUM(0));
    return (1 + 3 * share) * p->noise;
}

/* What the users of an endpoint have together, of an objective that leaves users out. */
static num rates_together(const problem *p, endpoint e) {
    if (!saves(p))
        return *e.rate;
    return *e.beams.worth * (total_of(p->F, e.beams.part) + p->overhead);
}

/* Some of the general stage at the noise of its share, from one endpoint to another; the rate is
 * that at the noise of the problem. */
static int share_general(problem *p, ascent *s, endpoint from, endpoint to, num forced,
                         idx iterations, num tolerance) {
    num served = NUM(0);
    for (idx k = 0; k < p->K; k++)
        served += p->served[k];
    const num made = *from.made, unrecorded = NUM(s->traced); /* rates at another noise */
    go_to(p, s, from);
    s->noise = prelude_noise(p, forced, served);
    s->made = made;
    if (climb(p, s, GENERAL, every(1), iterations, tolerance, unrecorded))
        return 1;
    s->noise = p->noise;
    store_best(p, s, to);
    *to.made = s->made + made;
    if (!p->radiated && !is_alone(p))
        *to.rate = evaluate(p, s, GENERAL, PARTS_ANEW, to.m, to.beams, s->gradient);
    return 0;
}

/* One candidate in every lane: the fit, the zero-forcing stage, and its first share of the general
 * one. */
static int run_candidate(problem *p, ascent *s, candidates *c, num candidate, idx i, budget b) {
    const idx K = p->K;
    endpoint forced = c->forced[i], reached = c->reached[i];
    num served = NUM(0);
    for (idx k = 0; k < K; k++)
        served += p->served[k];
    start_candidate(p, c, candidate, s->m);
    if (b.zf_iterations && !is_alone(p)) {
        for (idx f = 0; f < p->F; f++) {
            find_channel_gram(p, f, c->gram);
            find_metric(p, c->gram, c->metrics + f * K * K);
        }
        fit(p, s, c->metrics);
    }
    memset(s->at.psi, 0, (size_t)(p->F * K * K) * sizeof(cpx));
    memset(s->at.share, 0, (size_t)(p->F * K) * sizeof(num));
    memset(s->at.rates, 0, (size_t)(p->F * K) * sizeof(num));
    memcpy(s->at.split, p->begun, (size_t)(p->F * K) * sizeof(num));
    *s->at.worth = NUM(0);
    for (idx f = 0; f < p->F; f++)
        s->at.value[f] = s->at.part[f] = s->best_inner.part[f] = NUM(1);
    for (idx i = 0; i < p->F * K; i++)
        s->at.powers[i] = NUM(1);
    for (idx f = 0; f < p->F; f++)
        start_multipliers(p, s->at.theta + f * (p->L + 1));
    const mask few = served <= (real)p->L;
    s->noise = p->noise;
    memcpy(s->best, s->m, (size_t)p->n * sizeof(vec));
    pick_inner(p, every(1), s->at, s->best_inner);
    s->best_rate = NUM(-INFINITY);
    s->made = NUM(0);
    s->converged = every(0);
    if (any(few) && climb(p, s, ZERO_FORCING, few, b.zf_iterations, b.tolerance, NUM(0)))
        return 1;
    s->best_rate = pick(few, s->best_rate, NUM(-INFINITY));
    const mask forced_none = not(s->best_rate > (real)-INFINITY);
    c->unfit |= few & forced_none;
    for (idx j = 0; any(forced_none) && j < p->F * K * K; j++)
        s->best_inner.psi[j] = (cpx){pick(forced_none, NUM(0), s->best_inner.psi[j].re),
                                     pick(forced_none, NUM(0), s->best_inner.psi[j].im)};
    store_best(p, s, forced);
    *forced.made = s->made;
    if (b.prelude) {
        if (share_general(p, s, forced, reached, rates_together(p, forced), b.trial, b.tolerance))
            return 1;
        c->unfit |= not(is_finite(*reached.rate));
        return 0;
    }
    store_best(p, s, reached);
    *reached.made = s->made;
    return 0;
}

/* The candidates in the lanes of run i, whose idle lanes have the last. */
static num lanes_candidates(idx i, idx count) {
    num candidate = NUM(0);
    for (idx lane = 0; lane < LANES; lane++)
        set(&candidate, lane, (real)least(i * LANES + lane, count - 1));
    return candidate;
}

/* The rate that another one has to exceed to be better. */
INLINE num challenge(num rate) { return pick(rate > 0, rate * (real)(1 + APART), rate); }

/* Selects, lane by lane, the best of the rated candidates, the first of those that are alike, and
 * rates it no more. */
static num next_best(candidates *c, idx count) {
    num best = c->rating[0], which = NUM(0);
    for (idx i = 1; i < count; i++) {
        const mask better = (c->rating[i] > challenge(best)) | not(best == best);
        best = pick(better, c->rating[i], best);
        which = pick(better, NUM(i), which);
    }
    for (idx i = 0; i < count; i++)
        c->rating[i] = pick(which == (real)i, NUM(-INFINITY), c->rating[i]);
    return which;
}

static void rate_candidates(candidates *c, idx count) {
    for (idx i = 0; i < count; i++)
        c->rating[i] = *c->reached[i].rate;
}

static void choose_candidate(problem *p, ascent *s, candidates *c, idx count) {
    const num which = next_best(c, count);
    for (idx i = 0; i < count; i++) {
        const mask here = which == (real)i;
        pick_endpoint(p, here, c->reached[i], c->chosen);
        pick_endpoint(p, here, c->forced[i], c->chosen_forced);
        pick_nums(least(s->traced, c->traced), here, c->traces[i], s->trace);
    }
    serve(p, c, which);
}

/* The same among the lanes. */
static idx next_lane(candidates *c, idx count) {
    idx best = 0;
    for (idx i = 1; i < count; i++) {
        const num most = challenge(c->rating[best / LANES]);
        if (get(c->rating[i / LANES], i % LANES) > get(most, best % LANES))
            best = i;
    }
    set(&c->rating[best / LANES], best % LANES, -INFINITY);
    return best;
}

/* The rest of their share for the FURTHER best candidates; the others are out. */
static int advance_candidates(problem *p, ascent *s, candidates *c, budget b) {
    const idx further = least(FURTHER - !p->radiated, b.candidates);
    rate_candidates(c, b.candidates);
    for (idx turn = 0; turn < further; turn++) {
        const num which = next_best(c, b.candidates);
        num forced = NUM(0);
        for (idx i = 0; i < b.candidates; i++) {
            pick_endpoint(p, which == (real)i, c->reached[i], c->chosen);
            forced = pick(which == (real)i, rates_together(p, c->forced[i]), forced);
        }
        serve(p, c, which);
        if (share_general(p, s, c->chosen, c->chosen, forced, b.prelude - b.trial, b.tolerance))
            return 1;
        for (idx i = 0; i < b.candidates; i++)
            pick_endpoint(p, which == (real)i, c->chosen, c->reached[i]);
    }
    for (idx i = 0; i < b.candidates; i++) {
        const mask out = c->rating[i] > (real)-INFINITY;
        *c->reached[i].rate = pick(out, NUM(-INFINITY), *c->reached[i].rate);
    }
    return 0;
}

/* The same where the candidates are lanes: all go on, since that takes no longer. */
static int advance_lanes(problem *p, ascent *s, candidates *c, budget b) {
    const idx further = least(FURTHER - !p->radiated, b.candidates);
    const idx runs = (b.candidates + LANES - 1) / LANES;
    rate_candidates(c, runs);
    for (idx turn = 0; turn < further; turn++)
        next_lane(c, b.candidates);
    for (idx i = 0; i < runs; i++) {
        serve(p, c, lanes_candidates(i, b.candidates));
        if (share_general(p, s, c->reached[i], c->reached[i], rates_together(p, c->forced[i]),
                          b.prelude - b.trial, b.tolerance))
            return 1;
        const mask out = c->rating[i] > (real)-INFINITY;
        *c->reached[i].rate = pick(out, NUM(-INFINITY), *c->reached[i].rate);
    }
    return 0;
}

/* Every candidate to its first share; each run has one, or those of its lanes (`across`). */
static int run_candidates(problem *p, ascent *s, candidates *c, budget b, int across) {
    num *const whole_trace = s->trace;
    const idx traced = s->traced, runs = across ? (b.candidates + LANES - 1) / LANES : b.candidates;
    int told = 0;
    for (idx i = 0; !told && i < runs; i++) {
        num candidate = NUM(i);
        if (across)
            candidate = lanes_candidates(i, b.candidates);
        serve(p, c, candidate);
        s->trace = c->traces[i];
        s->traced = least(traced, c->traced);
        for (idx j = 0; j < s->traced; j++)
            s->trace[j] = NUM(NAN);
        told = run_candidate(p, s, c, candidate, i, b);
    }
    if (!told && b.prelude > b.trial)
        told = across ? advance_lanes(p, s, c, b) : advance_candidates(p, s, c, b);
    s->trace = whole_trace;
    s->traced = traced;
    return told;
}

/* The rest of the general stage, from the endpoints of the finalists. */
static int finish_candidate(problem *p, ascent *s, candidates *c, budget b) {
    const endpoint ended = c->chosen, forced = c->chosen_forced;
    const mask asked = every(b.iterations > 0 || (p->limited && p->dual));
    const mask general = asked | (*forced.rate == (real)-INFINITY);
    if (!any(general))
        return 0;
    go_to(p, s, ended);
    s->noise = p->noise;
    s->made = *ended.made;
    if (climb(p, s, GENERAL, general, b.iterations - b.prelude, b.tolerance, *ended.made))
        return 1;
    s->made += *ended.made;
    pick_elements(p->n, general, s->best, ended.m);
    pick_inner(p, general, s->best_inner, ended.beams);
    *ended.rate = pick(general, s->best_rate, *ended.rate);
    *ended.made = pick(general, s->made, *ended.made);
    *ended.converged = (s->converged & general) | (*ended.converged & not(general));
    for (idx i = 0; splits(p) && i < PARTS; i++)
        evaluate(p, s, GENERAL, WARM, ended.m, ended.beams, s->gradient);
    if (p->dual)
        leave_dual(p, s, ended, general, b.rebalancings);
    const mask back = every(!p->limited) & (*forced.rate > *ended.rate);
    const num made = *ended.made;
    const mask converged = *ended.converged;
    pick_endpoint(p, back, forced, ended);
    *ended.made = made;
    *ended.converged = converged;
    return 0;
}

/* Items for which single precision is not enough leave the pack. */
static void leave_unfit(problem *p, const candidates *c) {
    leave_lanes(p, p->lanes == ITEMS ? c->unfit : every(any(c->unfit)));
}

static int project_variables(problem *p, ascent *s, candidates *c, budget b) {
    if (run_candidates(p, s, c, b, 0))
        return 1;
    if (sizeof(real) == 4)
        leave_unfit(p, c);
    rate_candidates(c, b.candidates);
    for (idx i = 0; i < s->traced; i++)
        s->trace[i] = NUM(NAN);
    for (idx i = 0; i < least(b.finalists, b.candidates); i++) {
        choose_candidate(p, s, c, b.candidates);
        if (finish_candidate(p, s, c, b))
            return 1;
        const mask better = every(i == 0) | (*c->chosen.rate > *c->best.rate);
        pick_endpoint(p, better, c->chosen, c->best);
    }
    return 0;
}

/* ---- in two halves: the candidates in single precision, and the rest of the best one */

enum { WHOLE, SCREENING, FINISHING };
#define FAR 1e-30 /* a size that single precision still holds */

INLINE mask is_near(const problem *p) {
    return (p->channel_size > (real)FAR) & (p->phase_size > (real)FAR);
}

/* What the screening left of the item in a lane (screened_size). */
INLINE double *screened_of(const problem *p, hf_operand screened, idx lane) {
    return (double *)screened.data + p->item[p->lanes == ITEMS ? lane : 0] * screened_size(p->shape);
}

/* Psi of channel g of the item in a lane; its reals are LANES apart. */
INLINE real *psi_of(const problem *p, endpoint e, idx g, idx lane) {
    const int across = p->lanes == CHANNELS;
    const cpx *of_channel = e.beams.psi + (across ? g / LANES : g) * p->K * p->K;
    return (real *)of_channel + (across ? g % LANES : lane);
}

/* The same of the multipliers of the limits of its feeds. */
INLINE real *theta_of(const problem *p, endpoint e, idx g, idx lane) {
    const int across = p->lanes == CHANNELS;
    const num *of_channel = e.beams.theta + (across ? g / LANES : g) * (p->L + 1);
    return (real *)of_channel + (across ? g % LANES : lane);
}

static void leave_screened(const problem *p, idx lane, endpoint reached, endpoint forced,
                           const num *trace, idx traced, double *to) {
    const endpoint ends[] = {reached, forced};
    *to++ = get(*reached.made, lane);
    *to++ = holds(*reached.converged, lane);
    for (idx k = 0; k < p->K; k++)
        *to++ = get(p->served[k], lane);
    for (idx i = 0; i < p->shape->recorded; i++)
        *to++ = i < traced ? (double)get(trace[i], lane) : NAN;
    for (int end = 0; end < 2; end++) {
        for (idx n = 0; n < p->N; n++)
            *to++ = ((const real *)ends[end].m)[n * LANES + lane];
        for (idx g = 0; g < p->shape->channels; g++)
            for (idx i = 0; i < 2 * p->K * p->K; i++)
                *to++ = psi_of(p, ends[end], g, lane)[i * LANES];
        for (idx g = 0; p->limited && g < p->shape->channels; g++)
            for (idx l = 0; l <= p->L; l++)
                *to++ = theta_of(p, ends[end], g, lane)[l * LANES];
        for (idx g = 0; saves(p) && g < p->F; g++)
            *to++ = get(ends[end].beams.part[g], lane);
        if (saves(p))
            *to++ = get(*ends[end].beams.worth, lane);
    }
}

/* The best candidate. */
static int screen_candidates(problem *p, ascent *s, candidates *c, budget b, hf_operand screened) {
    const int across = p->lanes == CANDIDATES;
    idx best = 0;
    if (run_candidates(p, s, c, b, across))
        return 1;
    if (across) {
        rate_candidates(c, (b.candidates + LANES - 1) / LANES);
        best = next_lane(c, b.candidates);
        serve(p, c, NUM(best));
    } else {
        rate_candidates(c, b.candidates);
        choose_candidate(p, s, c, b.candidates);
    }
    leave_unfit(p, c);
    for (idx lane = 0; lane < LANES; lane++)
        if (p->used[lane] && across)
            leave_screened(p, best % LANES, c->reached[best / LANES], c->forced[best / LANES],
                           c->traces[best / LANES], c->traced, screened_of(p, screened, 0));
        else if (p->used[lane])
            leave_screened(p, lane, c->chosen, c->chosen_forced, s->trace, c->traced,
                           screened_of(p, screened, lane));
    return 0;
}

static void take_screened(problem *p, ascent *s, const vec *start, endpoint reached,
                          endpoint forced, hf_operand screened) {
    const endpoint ends[] = {reached, forced};
    num converged = NUM(0);
    for (int end = 0; end < 2; end++) {
        memset(ends[end].m, 0, (size_t)p->n * sizeof(vec));
        clear(p->F * p->K * p->K, ends[end].beams.psi);
        for (idx f = 0; f < p->F; f++)
            start_multipliers(p, ends[end].beams.theta + f * (p->L + 1));
    }
    for (idx lane = 0; lane < LANES; lane++) {
        const double *from = screened_of(p, screened, lane);
        set(reached.made, lane, (real)*from++);
        set(&converged, lane, (real)*from++);
        for (idx k = 0; k < p->K; k++)
            set(&p->served[k], lane, (real)*from++);
        for (idx i = 0; i < s->traced; i++)
            set(&s->trace[i], lane, (real)*from++);
        for (int end = 0; end < 2; end++) {
            for (idx n = 0; n < p->N; n++)
                ((real *)ends[end].m)[n * LANES + lane] = (real)*from++;
            for (idx g = 0; g < p->shape->channels; g++)
                for (idx i = 0; i < 2 * p->K * p->K; i++)
                    psi_of(p, ends[end], g, lane)[i * LANES] = (real)*from++;
            for (idx g = 0; p->limited && g < p->shape->channels; g++)
                for (idx l = 0; l <= p->L; l++)
                    theta_of(p, ends[end], g, lane)[l * LANES] = (real)*from++;
            for (idx g = 0; saves(p) && g < p->F; g++)
                set(&ends[end].beams.part[g], lane, (real)*from++);
            if (saves(p))
                set(ends[end].beams.worth, lane, (real)*from++);
        }
    }
    for (int end = 0; end < 2; end++)
        for (idx i = 0; i < p->n; i++)
            ends[end].m[i] = choose(p->free[i] > 0, ends[end].m[i], start[i]);
    *reached.converged = converged > 0;
    *reached.rate = NUM(-INFINITY);
}

/* The rest of the best candidate, after its zero forcing once more in this precision. */
static int finish_screened(problem *p, ascent *s, candidates *c, budget b, hf_operand screened) {
    take_screened(p, s, c->start, c->chosen, c->chosen_forced, screened);
    num served = NUM(0), highest = NUM(-INFINITY);
    for (idx k = 0; k < p->K; k++)
        served += p->served[k];
    s->noise = p->noise;
    const endpoint forced = c->chosen_forced;
    *forced.rate = NUM(-INFINITY);
    if (!p->limited) { /* whose beams always go on */
        const num rate = evaluate(p, s, ZERO_FORCING, WARM, forced.m, forced.beams, s->gradient);
        *forced.rate = pick(served <= (real)p->L, rate, NUM(-INFINITY));
    }
    for (idx i = 0; !p->limited && i < s->traced; i++)
        highest = pick(s->trace[i] > highest, s->trace[i], highest);
    for (idx i = 0; !p->limited && i < s->traced; i++)
        s->trace[i] = pick((s->trace[i] > *forced.rate) | (s->trace[i] == highest), *forced.rate,
                           s->trace[i]);
    if (finish_candidate(p, s, c, b))
        return 1;
    pick_endpoint(p, every(1), c->chosen, c->best);
    return 0;
}

static int run_projection(const hf_shape *shape, const hf_operand *in, const double *options,
                          void *const *out, int lanes, uint8_t *marks, int part) {
    problem at, *p = &at;
    ascent s = {0};
    candidates c = {0};
    arena a = {NULL, 0};
    budget b = {(idx)options[1], (idx)options[2], 0, 0, (idx)options[3], (idx)options[4],
                options[2] > 1 ? REBALANCINGS : ANEW, NUM(options[6])};
    measure(p, shape, lanes, in[PHASE].step != 0);
    p->radiated = options[0] != 0;
    p->sweeps = (idx)options[5];
    p->min_rate = in[MIN_RATE];
    p->element = shape->turned && options[7] > 0 ? (int)options[7] : p->element;
    p->movable = in[MOVABLE];
    p->overhead_of = in[OVERHEAD];
    p->split = in[SPLIT];
    p->feed_power = in[FEED_POWER];
    const int limits = p->limited = limits_feeds(shape, in[FEED_POWER]);
    p->objective = (int)OPTIONS(variable_projection)->objective;
    p->marks = marks;
    c.number = b.candidates;
    const idx runs = lanes == CANDIDATES ? (c.number + LANES - 1) / LANES : c.number;
    s.traced = shape->recorded;
    c.traced = least(shape->recorded, b.zf_iterations + 1);
    while (lay_out(&a)) {
        lay_out_problem(p, &a, 1);
        lay_out_ascent(p, &s, &a);
        lay_out_candidates(p, &c, runs, &a);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    int told = 0, loaded = 0;
    for (int turn = 0; turn < 2 + 2 * limits && !told; turn++) {
        p->floored = turn % 2;
        p->limited = turn / 2;
        for (idx next = 0; !told && fill_lanes(p, &next);) {
            p->dual = p->floored || !leaves_out(p);
            const mask good = load_problem(p, in, &loaded, c.start);
            if (part == SCREENING)
                leave_lanes(p, not(good & is_near(p)));
            else
                leave_out(p, HF_VARIABLE_PROJECTION, good, out);
            if (part == SCREENING && !any(lanes_in_use(p)))
                continue;
            const int several = b.zf_iterations && !p->dual;
            b.prelude = several ? b.iterations / PRELUDE : 0;
            b.trial = (b.prelude + TRIAL - 1) / TRIAL;
            b.candidates = several && b.prelude ? c.number : 1;
            if (part != FINISHING) {
                order_candidates(p, &c);
                choose_sets(p, &c, b.candidates);
            }
            if (part == SCREENING)
                told = screen_candidates(p, &s, &c, b, in[SCREENED]);
            else if (part == FINISHING)
                told = finish_screened(p, &s, &c, b, in[SCREENED]);
            else
                told = project_variables(p, &s, &c, b);
            if (!told && part != SCREENING)
                store_solution(p, &s, c.best, p->floored, b.rebalancings, out);
        }
    }
    return concluded(&a, told || stopped(shape));
}

OPERATOR(variable_projection) {
    return run_projection(shape, in, options, out, lanes, marks, WHOLE);
}

OPERATOR(screen) {
    return run_projection(shape, in, options, out, lanes, marks, SCREENING);
}

OPERATOR(finish) {
    return run_projection(shape, in, options, out, lanes, marks, FINISHING);
}

/* Beams at given amplitudes: by zero forcing with water filling or, if asked, the better of that
 * and general ones. */
OPERATOR(best_beams) {
    const double stay[] = {options[0], 0,        options[1], 1,        1,
                           options[2], INFINITY, 0,          SUM_RATE, 0};
    hf_operand given[FEED_POWER + 1] = {{NULL, 0}};
    memcpy(given, in, MOVABLE * sizeof *in); /* the inputs before `movable` */
    given[FEED_POWER] = in[MOVABLE];
    hf_shape unrecorded = *shape;
    unrecorded.recorded = 0;
    void *to[] = {NULL, out[0], out[1], NULL, NULL, NULL};
    return variable_projection(&unrecorded, given, stay, to, lanes, marks);
}

/* One WMMSE sweep from the beams V, in place, of channel f at m; beams that it does not improve,
 * since they reach nobody, stay. */
static void sweep_beams(problem *p, idx f, const vec *m, idx sweeps, cpx *psi, cpx *beams) {
    const idx K = p->K, L = p->L;
    cpx *received = p->received;
    whiten(p, f, m, p->radiated);
    const num power = power_of(p, f, m, beams);
    scale(L * K, pick(power > 0, 1 / root(power), NUM(1)), beams);
    multiply(K, L, K, p->effective, beams, received);
    find_links(p, received, p->noise);
    clear(K * K, psi);
    const mask useful = wmmse_update(p, p->gram, p->noise, psi, received, power > 0);
    if (sweeps > 1)
        general_terms(p, p->gram, p->noise, sweeps - 1, psi, NULL, NULL);
    multiply(L, K, K, p->carrier, psi, p->whitened);
    for (idx i = 0; i < L * K; i++)
        beams[i] = (cpx){pick(useful, p->whitened[i].re, beams[i].re),
                         pick(useful, p->whitened[i].im, beams[i].im)};
}

/* The rate of beams V of a power of one in channel f, with G in p->effective, and its gradient in
 * m added. */
static num fixed_terms(problem *p, idx f, const vec *m, const cpx *beams, num power,
                       vec *gradient) {
    const idx K = p->K, L = p->L;
    multiply(K, L, K, p->effective, beams, p->received);
    find_links(p, p->received, p->noise * power);
    for (idx k = 0; k < K; k++)
        p->ratio[k] = pick(p->signal[k] > 0, p->ratio[k], p->signal[k]);
    const num price = p->noise * rate_adjoint(p, p->received, p->adjoint);
    add_gradient(p, f, m, beams, p->adjoint, price, channel_in_use(p, f), gradient,
                 NULL);
    return rate_of(K, p->ratio, p->weights);
}

/* Beams V at the power after some sweeps, the rate there and its gradient in m at these beams: by
 * the envelope theorem that of the best rate at m where V is best. */
OPERATOR(wmmse_gradient) {
    problem at, *p = &at;
    arena a = {NULL, 0};
    measure(p, shape, ITEMS, in[PHASE].step != 0);
    vec *m = NULL, *gradient = NULL, *parts = NULL;
    cpx *psi = NULL, *beams = NULL;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, options[0] != 0);
        m = TAKE(&a, p->n, vec);
        gradient = TAKE(&a, p->n, vec);
        parts = TAKE(&a, (1 + shape->turned) * p->n, vec);
        psi = TAKE(&a, p->K * p->K, cpx);
        beams = TAKE(&a, p->L * p->K, cpx);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    p->marks = marks;
    p->radiated = options[0] != 0;
    const idx K = p->K, L = p->L, sweeps = (idx)options[1];
    /* As the loops have them: without the beams. */
    const hf_operand loop[] = {in[0], in[1], in[2], in[4], in[5], in[6]};
    int loaded = 0;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        mask good = load_problem(p, loop, &loaded, m);
        read_matrix(p, in[3], 0, L * K, beams);
        num size = NUM(0);
        for (idx i = 0; i < L * K; i++)
            size += beams[i].re - beams[i].re + beams[i].im - beams[i].im;
        good &= is_finite(size);
        leave_out(p, HF_WMMSE_GRADIENT, good, out);
        /* Of the caller's size, in the units of the scaled phase. */
        scale(L * K, 1 / p->size, beams);
        if (sweeps > 0)
            sweep_beams(p, 0, m, sweeps, psi, beams);
        find_effective(p, 0, m, p->effective);
        const num power = power_of(p, 0, m, beams);
        scale(L * K, pick(power > 0, 1 / root(power), NUM(1)), beams);
        num rate = NUM(0);
        for (int part = 0; part <= shape->turned; part++) {
            p->along = (cvec){VEC(part == 0), VEC(part)}; /* slopes along 1 and j */
            find_effective(p, 0, m, p->effective);
            memset(gradient, 0, (size_t)p->n * sizeof(vec));
            rate = fixed_terms(p, 0, m, beams, NUM(1), gradient) * p->weight_size;
            for (idx i = 0; i < p->n; i++)
                parts[(1 + shape->turned) * i + part] = spread(p->weight_size) * gradient[i];
        }
        scale(L * K, p->size, beams);
        write_number(p, rate, out[0]);
        write_matrix(p, beams, L * K, out[1], 0);
        if (shape->turned)
            write_columns(p, (const cvec *)parts, 1, NUM(1), out[2]);
        else
            write_elements(p, parts, out[2]);
    }
    return concluded(&a, stopped(shape));
}
