/* Spectral steps over the amplitudes, which WMMSE sweeps of the beams follow
 * (docs/mathematics.md, "Spectral steps"). */

/* First step, and range of the others, relative to the amplitudes that count as large. */
#define FIRST_STEP 0.5
#define LEAST_STEP 0.02
#define MOST_STEP 5.0
/* Amplitudes that count as large under `radiated` power, where their scale is free. */
#define LARGE 0.3

/* Beams after some sweeps of them at s->m, with the gradient of their rate there and the curvature
 * of the radiated power. */
static void follow(problem *p, ascent *s, idx sweeps, cpx *beams) {
    const idx K = p->K, L = p->L;
    cpx *psi = s->at.psi;
    num price;
    whiten(p, 0, s->m, p->radiated);
    const num power = quick_power(p, 0, s->m, beams);
    multiply(K, L, K, p->effective, beams, p->received);
    find_links(p, p->received, p->noise * power);
    clear(K * K, psi);
    const mask useful = wmmse_update(p, p->gram, p->noise, psi, p->received, power > 0);
    general_terms(p, p->gram, p->noise, sweeps - 1, psi, p->adjoint, &price);
    multiply(L, K, K, p->carrier, psi, p->beams);
    memset(s->gradient, 0, (size_t)p->n * sizeof(vec));
    memset(s->bend, 0, (size_t)p->n * sizeof(vec));
    add_gradient(p, 0, s->m, p->beams, p->adjoint, price, NUM(1), s->gradient, s->bend);
    pick_nums(2 * L * K, useful, (const num *)p->beams, (num *)beams);
}

/* The step of Barzilai and Borwein in the metric of the curvature, in s->direction, and its length,
 * which its largest part has.  `last` is the gradient before the change that led here. */
static num find_spectral_step(const problem *p, ascent *s, const vec *change, const vec *last) {
    const num unit = p->radiated ? NUM(LARGE) : NUM(1);
    const vec zero = {0};
    vec top = {0}, product = {0}, size = {0};
    find_scale(p, s);
    for (idx i = 0; i < p->n; i++) {
        const vec slope = s->scale[i] * s->gradient[i], steep = choose(slope < zero, -slope, slope);
        const vec lost = choose((s->m[i] > zero) | (s->gradient[i] > zero),
                                last[i] - s->gradient[i], zero);
        top = choose(steep > top, steep, top);
        product += change[i] * lost;
        size += change[i] * change[i] / s->scale[i];
        s->direction[i] = slope;
    }
    const num highest = largest(top), steepest = pick(highest > 0, highest, NUM(1));
    const num moved = total(size);
    const num inverse = smaller(larger(total(product) / (moved * steepest),
                                       1 / ((real)MOST_STEP * unit)),
                                1 / ((real)LEAST_STEP * unit));
    const num length = pick(moved > 0, 1 / inverse, (real)FIRST_STEP * unit);
    const vec by = spread(length / steepest);
    for (idx i = 0; i < p->n; i++)
        s->direction[i] *= by;
    return length;
}

/* Takes the step as far as the box allows, unless it turns everything off. */
static void take_spectral_step(const problem *p, ascent *s, vec *change, vec *last) {
    const vec zero = {0};
    vec sum = {0};
    for (idx i = 0; i < p->n; i++) {
        s->trial[i] = clip(s->m[i] + s->direction[i], VEC(1));
        sum += s->trial[i];
    }
    const lanes on = spread_mask(total(sum) > 0);
    for (idx i = 0; i < p->n; i++) {
        change[i] = choose(on, s->trial[i] - s->m[i], zero);
        s->m[i] += change[i];
        last[i] = s->gradient[i];
    }
}

/* A gradient in the caller's weights. */
static void write_gradient(const problem *p, const vec *from, vec *spare, void *to) {
    for (idx i = 0; i < p->n; i++)
        spare[i] = spread(p->weight_size) * from[i];
    write_elements(p, spare, to);
}

/* Some steps from amplitudes and beams, given the last change and the gradient before it, `slope`; and
 * the next step, which is not taken. */
OPERATOR(spectral_ascent) {
    enum { RATE, DIGITAL, END, CHANGE, SLOPE, GRADIENT, BEND, STEP, LENGTH };
    const hf_spectral_ascent_inputs *given = INPUTS(spectral_ascent);
    const hf_spectral_ascent_options *o = OPTIONS(spectral_ascent);
    problem at, *p = &at;
    ascent s = {0};
    arena a = {NULL, 0};
    vec *change = NULL, *last = NULL;
    cpx *beams = NULL;
    measure(p, shape, ITEMS, in[PHASE].step != 0);
    while (lay_out(&a)) {
        lay_out_problem(p, &a, 1);
        lay_out_ascent(p, &s, &a);
        change = TAKE(&a, p->n, vec);
        last = TAKE(&a, p->n, vec);
        beams = TAKE(&a, p->L * p->K, cpx);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    p->marks = marks;
    p->radiated = o->radiated != 0;
    const idx size = p->L * p->K, sweeps = (idx)o->sweeps;
    /* As the loops have them: without the beams. */
    const hf_operand loop[] = {given->channel, given->start,       given->phase,
                               given->power,   given->noise_power, given->weights};
    int loaded = 0;
    for (idx next = 0; !stopped(shape) && fill_lanes(p, &next);) {
        mask good = load_problem(p, loop, &loaded, s.m);
        read_matrix(p, given->digital, 0, size, beams);
        read_elements(p, given->change, change);
        read_elements(p, given->slope, last);
        good &= is_finite(inner_product(size, beams, beams)) & is_finite(dot(p->n, change, last));
        leave_out(p, HF_SPECTRAL_ASCENT, good, out);
        for (idx i = 0; i < p->n; i++)
            last[i] *= spread(1 / p->weight_size);
        scale(size, 1 / p->size, beams);
        follow(p, &s, sweeps, beams);
        num length = find_spectral_step(p, &s, change, last);
        for (idx i = 0; i < (idx)o->steps && !stopped(shape); i++) {
            take_spectral_step(p, &s, change, last);
            follow(p, &s, sweeps, beams);
            length = find_spectral_step(p, &s, change, last);
        }
        const num rate = scale_to_power(p, 0, s.m, beams);
        /* At high SNR single precision may lose a beam. */
        leave_lanes(p, not(is_finite(rate + dot(p->n, s.direction, last))));
        scale(size, p->size, beams);
        write_number(p, rate * p->weight_size, out[RATE]);
        write_matrix(p, beams, size, out[DIGITAL], 0);
        write_elements(p, s.m, out[END]);
        write_elements(p, change, out[CHANGE]);
        write_gradient(p, last, s.trial, out[SLOPE]);
        write_gradient(p, s.gradient, s.trial, out[GRADIENT]);
        for (idx i = 0; i < p->n; i++)
            s.bend[i] = 1 / s.scale[i];
        write_elements(p, s.bend, out[BEND]);
        write_elements(p, s.direction, out[STEP]);
        write_number(p, length, out[LENGTH]);
    }
    return concluded(&a, stopped(shape));
}
