/* A user alone: the best amplitudes for its beam and the best beam for these, in turns
 * (docs/mathematics.md, "A user alone"). */

#define OVERSHOOT 1.8  /* step of a user alone, as a multiple of that to the best amplitudes */
/* Regularisation of these: at first for so many elements and more, and with the square of their
 * number for fewer; from one to the next, and at least. */
#define FIRST_RIDGE 0.1
#define MANY 128
#define COOLING -0.18632957819149348 /* log 0.83 */
#define LEAST_RIDGE 1e-5
#define FIELDS 32      /* elements whose fields are computed together */

/* Whether the best amplitudes for a beam, and the best beam for them, are known in closed form. */
INLINE int is_alone(const problem *p) {
    return p->K == 1 && p->shape->channels == 1 && p->element == AMPLITUDE && !p->limited &&
           !p->dual && p->objective == SUM_RATE;
}

/* For the beam in p->carrier, in s->trial: the amplitudes that serve the user best, with a ridge on
 * the power of each element, relative to the mean, or under `digital` power without.  Returns the
 * gain that those without a ridge promise. */
static num answer_beam(problem *p, ascent *s, num ridge) {
    const cvec *h = channel_of(p, 0);
    const vec zero = {0};
    vec *heard = s->gradient, *spent = s->bend, *to = s->trial;
    vec sum = zero, best_heard = zero, best_spent = zero, own_heard = zero, own_spent = zero;
    for (idx at = 0; at < p->n; at += FIELDS) {
        cvec fields[FIELDS];
        const idx count = least(FIELDS, p->n - at);
        find_fields(p, 0, at, count, p->carrier, fields);
        for (idx j = 0; j < count; j++) {
            const cvec z = fields[j], x = h[at + j];
            heard[at + j] = x.re * z.re - x.im * z.im;
            spent[at + j] = z.re * z.re + z.im * z.im;
            sum += spent[at + j];
        }
    }
    const vec extra = spread(ridge * (1 / (real)p->N) * total(sum));
    for (idx i = 0; i < p->n; i++) {
        const lanes helps = heard[i] > zero, moves = p->free[i] > zero;
        vec best = choose(helps, VEC(1), zero), own = best;
        if (p->radiated) {
            best = choose(helps, heard[i] / spent[i], zero);
            own = choose(helps, heard[i] / (spent[i] + extra), zero);
        }
        best = choose(moves, best, s->m[i]);
        to[i] = choose(moves, own, s->m[i]);
        best_heard += heard[i] * best;
        best_spent += spent[i] * best * best;
        own_heard += heard[i] * to[i];
        own_spent += spent[i] * to[i] * to[i];
    }
    const num found = total(best_heard);
    if (!p->radiated)
        return found * found / p->gram[0].re;
    const vec size = spread(total(own_heard) / total(own_spent));
    for (idx i = 0; i < p->n; i++)
        to[i] = choose(p->free[i] > zero, size * to[i], to[i]);
    return found * found / total(best_spent);
}

/* Ascent of a user alone, as `ascend`: the best beam for the amplitudes and the best amplitudes for
 * the beam in turns, further than these under `radiated` power, and with a ridge that falls with the
 * iterations that the candidate has made (s->made). */
static int ascend_alone(problem *p, ascent *s, mask open, idx iterations, num tolerance, num from) {
    const idx n = p->n;
    const vec top = spread(pick(p->all_move, NUM(HUGE_REAL), NUM(1)));
    const num before = s->made;
    const real few = (real)least(p->N, MANY) / MANY, first_ridge = (real)FIRST_RIDGE * few * few;
    s->made = NUM(0);
    s->best_rate = NUM(-INFINITY);
    s->converged = every(0);
    s->at.psi[0] = (cpx){NUM(1), NUM(0)};
    pick_inner(p, every(1), s->at, s->best_inner);
    memcpy(s->best, s->m, (size_t)n * sizeof(vec));
    for (;;) {
        whiten(p, 0, s->m, p->radiated);
        p->ratio[0] = p->gram[0].re / s->noise;
        const num rate = rate_of(1, p->ratio, p->weights);
        record(s->trace, s->traced, open, from + s->made, rate);
        const mask better = open & (rate > s->best_rate);
        s->best_rate = pick(better, rate, s->best_rate);
        pick_elements(n, better, s->m, s->best);
        open &= is_finite(rate) & not(s->made >= (real)iterations);
        if (!any(open))
            return 0;
        if (stopped(p->shape))
            return 1;
        const num cooled = exponential((before + s->made) * (real)COOLING);
        const num gain = answer_beam(p, s, first_ridge * cooled + (real)LEAST_RIDGE);
        p->ratio[0] = gain / s->noise;
        const mask flat = open & not(rate_of(1, p->ratio, p->weights) - rate > tolerance);
        s->converged |= flat;
        open &= not(flat);
        s->made += pick(open, NUM(1), NUM(0));
        const vec length = VEC(p->radiated ? OVERSHOOT : 1);
        for (idx i = 0; i < n; i++)
            s->m[i] = clip(s->m[i] + length * (s->trial[i] - s->m[i]), top);
    }
}

/* Ascent of either kind. */
static int climb(problem *p, ascent *s, int stage, mask open, idx iterations, num tolerance,
                 num from) {
    if (is_alone(p))
        return ascend_alone(p, s, open, iterations, tolerance, from);
    return ascend(p, s, stage, open, iterations, tolerance, from);
}
