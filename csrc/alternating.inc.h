/* Paper B's Algorithm 1: zero forcing, gradient steps on m at fixed beams, zero forcing again
 * (docs/mathematics.md, "Alternating zero forcing"). */

#define MOST_STEPS 100 /* between two zero forcings, where the paper's rule does not end them */

typedef struct {
    vec *m, *trial, *gradient, *trial_gradient, *best;
    cpx *beams, *forced, *best_beams; /* F x L x K */
    cpx *psi;
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

/* Rate at the beams, which are scaled to the power, over all channels, and its gradient in m. */
static num evaluate_fixed(problem *p, const alternation *s, const vec *m, vec *gradient) {
    num sum = NUM(0);
    memset(gradient, 0, (size_t)p->n * sizeof(vec));
    for (idx f = 0; f < p->F; f++) {
        const cpx *beams = s->beams + f * p->L * p->K;
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
        const num reached = evaluate_fixed(p, s, s->trial, s->trial_gradient);
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

/* Runs the loop in all lanes; each counts its own steps. */
static int alternate(problem *p, alternation *s, alternating_rule r, num *best_rate, num *made,
                     mask *converged) {
    const idx n = p->n, beam_nums = 2 * p->F * p->L * p->K;
    const vec step = spread(r.step);
    s->singular = every(0);
    force(p, s, every(1));
    num rate = evaluate_fixed(p, s, s->m, s->gradient), served = rate, steps = NUM(0);
    num length = r.step;
    *best_rate = rate;
    *made = NUM(0);
    *converged = every(0);
    for (idx lane = 0; lane < LANES && s->traced; lane++)
        set(&s->trace[0], lane, get(rate, lane));
    memcpy(s->best, s->m, (size_t)n * sizeof(vec));
    pick_nums(beam_nums, every(1), (const num *)s->beams, (num *)s->best_beams);
    for (;;) {
        const mask open = (*made < (real)r.iterations) & not(*converged);
        if (!any(open))
            return 0;
        if (stopped(p->shape))
            return 1;
        const num previous = rate;
        if (r.backtracking) {
            rate = backtrack(p, s, open, rate, &length);
        } else {
            const lanes here = spread_mask(open);
            for (idx i = 0; i < n; i++)
                s->m[i] = choose(here, inside(p, s->m[i] + step * s->gradient[i]), s->m[i]);
        }
        *made += pick(open, NUM(1), NUM(0));
        steps += 1;
        /* Whether zero forcing is due: after so many steps, or where the rate has settled. */
        mask due = open & ((steps == (real)r.inner) | (*made >= (real)r.iterations));
        if (!all(due | not(open))) {
            if (!r.backtracking) {
                const num reached = evaluate_fixed(p, s, s->m, s->trial_gradient);
                pick_elements(n, open, s->trial_gradient, s->gradient);
                rate = pick(open, reached, rate);
            }
            const num change = rate - previous;
            const mask settled = (change < r.tolerance) & (change > -r.tolerance);
            due |= open & every(r.inner == 0) & (settled | (steps >= (real)MOST_STEPS));
        }
        for (idx lane = 0; lane < LANES; lane++) {
            const idx i = (idx)get(*made, lane);
            if (holds(open, lane) && i < s->traced)
                set(&s->trace[i], lane, (real)NAN);
        }
        if (!any(due))
            continue;
        force(p, s, due);
        const num reached = evaluate_fixed(p, s, s->m, s->trial_gradient);
        pick_elements(n, due, s->trial_gradient, s->gradient);
        rate = pick(due, reached, rate);
        steps = pick(due, NUM(0), steps);
        for (idx lane = 0; lane < LANES; lane++) {
            const idx i = (idx)get(*made, lane);
            if (holds(due, lane) && i < s->traced)
                set(&s->trace[i], lane, get(rate, lane));
        }
        const mask better = due & (rate > *best_rate);
        *best_rate = pick(better, rate, *best_rate);
        pick_elements(n, better, s->m, s->best);
        pick_nums(beam_nums, better, (const num *)s->beams, (num *)s->best_beams);
        const num change = rate - served;
        *converged |= due & (change < r.tolerance) & (change > -r.tolerance);
        served = pick(due, rate, served);
    }
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

OPERATOR(alternating) {
    problem at, *p = &at;
    alternation s = {0};
    arena a = {NULL, 0};
    const alternating_rule r = {options[1] != 0, NUM(options[2]), NUM(options[4]), (idx)options[3],
                                (idx)options[5]};
    measure(p, shape, lanes, in[PHASE].step != 0);
    p->radiated = options[0] != 0;
    p->element = (int)options[6] ? (int)options[6] : p->element;
    p->movable = in[MIN_RATE];
    p->marks = marks;
    s.traced = shape->recorded;
    for (int pass = 0; pass < 2; pass++) {
        a.used = 0;
        lay_out_problem(p, &a, p->radiated);
        lay_out_algebra(p, &a);
        lay_out_alternation(p, &s, &a);
        s.trace = TAKE(&a, s.traced, num);
        if (pass == 0 && !(a.memory = claim(a.used)))
            return HF_NO_MEMORY;
    }
    int told = 0, loaded = 0;
    for (idx next = 0; !told && fill_lanes(p, &next);) {
        num rate, made;
        mask converged;
        leave_out(p, load_problem(p, in, &loaded, s.m), out);
        told = alternate(p, &s, r, &rate, &made, &converged);
        leave_lanes(p, s.singular);
        if (!told)
            store_loop(p, s.best, s.best_beams, made, converged, s.trace, s.traced, out);
    }
    release(a.memory);
    return told ? HF_STOPPED : HF_OK;
}
