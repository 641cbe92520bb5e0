/* Paper B's Algorithm 1: zero forcing, gradient steps on m at fixed beams, zero forcing again
 * (docs/mathematics.md, "Alternating zero forcing"). */

#define MOST_STEPS 100 /* between two zero forcings, where the paper's rule does not end them */

typedef struct {
    vec *m, *trial, *gradient, *trial_gradient, *best;
    cpx *beams, *forced, *best_beams; /* F x L x K */
    cpx *psi;
    num rate, served, best_rate; /* now, after the last zero forcing, and the best */
    num length, steps, made;     /* of a step; since the last zero forcing; in all */
    mask converged;
    num *trace;
    idx traced;
    mask singular; /* lanes whose zero forcing met a singular X */
} alternation;

static void lay_out_alternation(problem *p, alternation *s, arena *a) {
    vec **vectors[] = {&s->m, &s->trial, &s->gradient, &s->trial_gradient, &s->best};
    for (int i = 0; i < 5; i++)
        *vectors[i] = TAKE(a, p->n, vec);
    s->beams = TAKE(a, p->F * p->L * p->K, cpx);
    s->forced = TAKE(a, p->F * p->L * p->K, cpx);
    s->best_beams = TAKE(a, p->F * p->L * p->K, cpx);
    s->psi = TAKE(a, p->K * p->K, cpx);
}

/* Equal-SINR zero forcing of a power of one in every channel, for the lanes of `which`. */
static void force(problem *p, alternation *s, mask which) {
    const idx size = p->L * p->K;
    for (idx f = 0; f < p->F; f++) {
        cpx *beams = s->forced + f * size;
        whiten(p, f, s->m, p->radiated);
        s->singular |= which & not(pseudo_invert(p->K, p->gram, s->psi, p->adjoint));
        multiply(p->L, p->K, p->K, p->carrier, s->psi, beams);
        const num power = power_of(p, f, s->m, beams);
        scale(size, pick(power > 0, 1 / root(power), NUM(1)), beams);
    }
    pick_nums(2 * p->F * size, which, (const num *)s->forced, (num *)s->beams);
}

/* Rate at the beams, which are scaled to the power, over all channels, and its gradient in m.
 * forced: whether they were found at this m, so that G of a single channel is still there. */
static num evaluate_fixed(problem *p, const alternation *s, const vec *m, int forced,
                          vec *gradient) {
    num sum = NUM(0);
    memset(gradient, 0, (size_t)p->n * sizeof(vec));
    for (idx f = 0; f < p->F; f++) {
        const cpx *beams = s->beams + f * p->L * p->K;
        if (!forced || p->F > 1)
            find_effective(p, f, m, p->effective);
        const num power = quick_power(p, f, m, beams);
        const num rate = fixed_terms(p, f, m, beams, power, gradient);
        sum += channel_in_use(p, f) * pick(power > 0, rate, 0 * power);
    }
    for (idx i = 0; i < p->n; i++)
        add_channels(p, &gradient[i]);
    return over_channels(p, sum);
}

/* A state, as near as the box of amplitudes allows. */
INLINE vec inside(const problem *p, vec state) {
    return either(p->element, state, clip(state, VEC(1)));
}

/* One step at fixed beams that raises their rate (Armijo, halving), from twice the last length,
 * in the lanes of `open`; all stay where no step does.  Returns the rate. */
static num backtrack(problem *p, alternation *s, mask open, num rate, num *length) {
    num tried = smaller(2 * *length, NUM(1e4));
    for (;;) {
        open &= tried > (real)1e-12;
        if (!any(open))
            return rate;
        const vec far = spread(tried);
        vec slope = {0};
        for (idx i = 0; i < p->n; i++) {
            s->trial[i] = inside(p, s->m[i] + far * s->gradient[i]);
            slope += s->gradient[i] * (s->trial[i] - s->m[i]);
        }
        const num reached = evaluate_fixed(p, s, s->trial, 0, s->trial_gradient);
        const mask better = open & (reached >= rate + (real)1e-4 * total(slope));
        pick_elements(p->n, better, s->trial, s->m);
        pick_elements(p->n, better, s->trial_gradient, s->gradient);
        rate = pick(better, reached, rate);
        *length = pick(better, tried, *length);
        open &= not(better);
        tried *= (real)0.5;
    }
}

typedef struct {
    int backtracking;
    num step, tolerance;
    idx inner, iterations;
} alternating_rule;

/* Zero forcing at the amplitudes of the lanes of `which`, and what it reaches, which may be the best
 * so far and is where the loop is `fresh`. */
static void serve_again(problem *p, alternation *s, mask which, mask fresh) {
    force(p, s, which);
    const num reached = evaluate_fixed(p, s, s->m, 1, s->trial_gradient);
    pick_elements(p->n, which, s->trial_gradient, s->gradient);
    s->rate = pick(which, reached, s->rate);
    s->steps = pick(which, NUM(0), s->steps);
    record(s->trace, s->traced, which, s->made, reached);
    const mask better = which & (fresh | (reached > s->best_rate));
    s->best_rate = pick(better, reached, s->best_rate);
    pick_elements(p->n, better, s->m, s->best);
    pick_nums(2 * p->F * p->L * p->K, better, (const num *)s->beams, (num *)s->best_beams);
}

/* Starts the loop in the lanes of `which`. */
static void begin(problem *p, alternation *s, alternating_rule r, mask which) {
    s->singular &= not(which);
    s->converged &= not(which);
    s->length = pick(which, r.step, s->length);
    s->made = pick(which, NUM(0), s->made);
    serve_again(p, s, which, which);
    s->served = pick(which, s->rate, s->served);
}

/* One gradient step in the lanes of `open`, and zero forcing in those where it is due. */
static void advance(problem *p, alternation *s, alternating_rule r, mask open) {
    const idx n = p->n;
    const vec step = spread(r.step);
    const num previous = s->rate;
    if (r.backtracking) {
        s->rate = backtrack(p, s, open, s->rate, &s->length);
    } else {
        const lanes here = spread_mask(open);
        for (idx i = 0; i < n; i++)
            s->m[i] = choose(here, inside(p, s->m[i] + step * s->gradient[i]), s->m[i]);
    }
    s->made += pick(open, NUM(1), NUM(0));
    s->steps += 1;
    record(s->trace, s->traced, open, s->made, NUM(NAN));
    /* Whether zero forcing is due: after so many steps, or where the rate has settled. */
    mask due = open & ((s->steps == (real)r.inner) | (s->made >= (real)r.iterations));
    if (!all(due | not(open))) {
        if (!r.backtracking) {
            const num reached = evaluate_fixed(p, s, s->m, 0, s->trial_gradient);
            pick_elements(n, open, s->trial_gradient, s->gradient);
            s->rate = pick(open, reached, s->rate);
        }
        const num change = s->rate - previous;
        const mask settled = (change < r.tolerance) & (change > -r.tolerance);
        due |= open & every(r.inner == 0) & (settled | (s->steps >= (real)MOST_STEPS));
    }
    if (!any(due))
        return;
    serve_again(p, s, due, every(0));
    const num change = s->rate - s->served;
    s->converged |= due & (change < r.tolerance) & (change > -r.tolerance);
    s->served = pick(due, s->rate, s->served);
}

/* Writes what a loop of [A] or [B] found: the best amplitudes with their beams. */
static void store_loop(problem *p, const vec *m, cpx *beams, num made, mask converged,
                       const num *trace, idx traced, void *const *out) {
    const idx size = p->L * p->K;
    num sum = NUM(0);
    for (idx f = 0; f < p->F; f++) {
        find_effective(p, f, m, p->effective);
        sum += channel_in_use(p, f) * scale_to_power(p, f, m, beams + f * size);
        scale(size, p->size, beams + f * size);
        write_matrix(p, beams + f * size, size, out[TO_DIGITAL], f);
    }
    write_amplitudes(p, m, out[TO_AMPLITUDES]);
    write_ends(p, over_channels(p, sum) * p->weight_size, made, converged, trace, traced, out);
}

/* Writes the lanes of `which`, whose loops have ended. */
static void store_ended(problem *p, alternation *s, mask which, void *const *out) {
    int used[W];
    memcpy(used, p->used, sizeof used);
    for (idx lane = 0; lane < LANES; lane++)
        p->used[lane] = used[lane] && holds(which, lane);
    leave_lanes(p, s->singular);
    memcpy(s->forced, s->best_beams, (size_t)(p->F * p->L * p->K) * sizeof(cpx));
    store_loop(p, s->best, s->forced, s->made, s->converged, s->trace, s->traced, out);
    for (idx lane = 0; lane < LANES; lane++)
        p->used[lane] = used[lane] && !holds(which, lane);
}

/* Works through items in all lanes; a lane whose loop has ended takes a new item, since the numbers
 * of steps differ widely.  Returns whether it was told to stop. */
static int alternate(problem *p, alternation *s, alternating_rule r, const hf_operand *in, idx *next,
                     int *loaded, void *const *out) {
    mask fresh = every(1);
    for (;;) {
        leave_out(p, HF_ALTERNATING, load_problem(p, in, loaded, s->trial), out);
        pick_elements(p->n, fresh, s->trial, s->m);
        begin(p, s, r, fresh);
        for (;;) {
            const mask open = lanes_in_use(p) & (s->made < (real)r.iterations) & not(s->converged);
            const mask ended = lanes_in_use(p) & not(open);
            if (any(ended)) {
                store_ended(p, s, ended, out);
                fresh = refill_lanes(p, next);
                if (any(fresh))
                    break;
            }
            if (!any(open))
                return 0;
            if (stopped(p->shape))
                return 1;
            advance(p, s, r, open);
        }
    }
}

OPERATOR(alternating) {
    const hf_alternating_options *o = OPTIONS(alternating);
    problem at, *p = &at;
    alternation s = {0};
    arena a = {NULL, 0};
    const alternating_rule r = {o->backtracking != 0, NUM(o->step), NUM(o->tolerance),
                                (idx)o->inner, (idx)o->iterations};
    measure(p, shape, lanes, in[PHASE].step != 0);
    p->radiated = o->radiated != 0;
    p->element = shape->turned && o->element > 0 ? (int)o->element : p->element;
    p->movable = INPUTS(alternating)->movable;
    p->marks = marks;
    s.traced = shape->recorded;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, p->radiated);
        lay_out_alternation(p, &s, &a);
        s.trace = TAKE(&a, s.traced, num);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    int told = 0, loaded = 0;
    for (idx next = 0; !told && fill_lanes(p, &next);)
        told = alternate(p, &s, r, in, &next, &loaded, out);
    return concluded(&a, told);
}
