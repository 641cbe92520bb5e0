/* What beams reach: SINR, rate, its adjoint and gradients (docs/mathematics.md, "Rate"). */

/* SINR of A = G V at this noise, with A_kk, the signal |A_kk|^2 and the disturbance D_k beside it. */
static void find_links(problem *p, const cpx *received, num noise) {
    const idx K = p->K;
    for (idx k = 0; k < K; k++) {
        num disturbance = noise;
        for (idx j = 0; j < K; j++)
            if (j != k)
                disturbance += norm2(received[k * K + j]);
        p->own[k] = received[k * K + k];
        p->signal[k] = norm2(p->own[k]);
        p->disturbance[k] = disturbance;
        p->ratio[k] = p->signal[k] / disturbance;
    }
}

/* sum_k alpha_k log2(1 + ratio_k). */
static num rate_of(idx K, const num *ratio, const num *weights) {
    num sum = NUM(0);
    for (idx k = 0; k < K; k++)
        sum += weights[k] * log_plus_one(ratio[k]);
    return sum * (real)NATURAL;
}

/* C of dR = Re tr(C^H dA); returns -2 dR/d(noise). */
static num rate_adjoint(problem *p, const cpx *received, cpx *adjoint) {
    const idx K = p->K;
    num d_noise = NUM(0);
    for (idx k = 0; k < K; k++) {
        const num total = p->disturbance[k] * (1 + p->ratio[k]);
        const num own = pick(total > 0, (real)(2 * NATURAL) * p->weights[k] / total, NUM(0));
        const num cross = -own * p->ratio[k];
        for (idx j = 0; j < K; j++)
            adjoint[k * K + j] = scaled(j == k ? own : cross, received[k * K + j]);
        d_noise -= cross;
    }
    return d_noise;
}

/* The power of beams in channel f after a pass over it at m, computed from the wave that they
 * radiate. */
static num power_of(problem *p, idx f, const vec *m, const cpx *beams) {
    if (!p->radiated)
        return inner_product(p->L * p->K, beams, beams);
    const vec *squares = find_squares(p, m);
    vec sum = {0};
    for (idx at = 0; at < p->n; at += STRIP) {
        const idx count = least(STRIP, p->n - at);
        find_fields(p, f, at, count, beams, p->field);
        for (idx i = 0; i < count; i++) {
            vec size = {0};
            for (idx k = 0; k < p->K; k++) {
                const cvec z = p->field[i * p->K + k];
                size += z.re * z.re + z.im * z.im;
            }
            sum += squares[at + i] * size;
        }
    }
    return total(sum);
}

/* The same from S, in a quarter of the time, for beams whose parts do not cancel. */
static num quick_power(problem *p, idx f, const vec *m, const cpx *beams) {
    if (!p->radiated)
        return inner_product(p->L * p->K, beams, beams);
    find_feed_gram(p, f, m, p->sums, p->feeds);
    multiply(p->L, p->L, p->K, p->feeds, beams, p->whitened);
    return inner_product(p->L * p->K, beams, p->whitened);
}

/* Scales the beams of channel f to a power of one, or within the limits of the feeds, and returns
 * their rate, with G in p->effective. */
static num scale_to_power(problem *p, idx f, const vec *m, cpx *beams) {
    const idx K = p->K, L = p->L;
    num power = power_of(p, f, m, beams);
    for (idx l = 0; p->limited && l < L; l++)
        power = larger(p->feed_cost[l] * inner_product(K, beams + l * K, beams + l * K), power);
    scale(L * K, pick(power > 0, 1 / root(power), NUM(1)), beams);
    multiply(K, L, K, p->effective, beams, p->received);
    find_links(p, p->received, p->noise);
    return rate_of(K, p->ratio, p->weights);
}

/* The gradient in complex weights, in p->d_q: its parts are the slopes along 1 and j. */
static void find_turned_gradient(problem *p, idx f, const cpx *omega) {
    pull_back_along(p, f, (cvec){VEC(1), VEC(0)}, omega, p->slope);
    for (idx i = 0; i < p->n; i++)
        p->d_q[i].re = p->slope[i];
    pull_back_along(p, f, (cvec){VEC(0), VEC(1)}, omega, p->slope);
    for (idx i = 0; i < p->n; i++)
        p->d_q[i].im = p->slope[i];
}

/* G, or everything about given beams, each result where its pointer is not NULL. */
static int rate_beams(const hf_shape *s, const hf_operand *in, int radiated, void *effective,
                      void *sinr, void *power, void *rate, void *d_amplitudes, void *d_digital) {
    const hf_operand channel = in[0], amplitudes = in[1], phase = in[2];
    problem at, *p = &at;
    arena a = {NULL, 0};
    measure(p, s, ITEMS, phase.step != 0);
    p->radiated = radiated;
    vec *m = NULL;
    cpx *d_beams = NULL;
    while (lay_out(&a)) {
        lay_out_problem(p, &a, 0);
        m = TAKE(&a, p->n, vec);
        d_beams = TAKE(&a, p->L * p->K, cpx);
    }
    if (!a.memory)
        return HF_NO_MEMORY;
    const idx K = p->K, L = p->L;
    int loaded = 0;
    for (idx next = 0; !stopped(s) && fill_lanes(p, &next);) {
        if (!loaded++ || phase.step)
            load_phase(p, phase);
        read_rows(p, channel, 0, K, p->channel);
        if (p->element)
            load_amplitudes(p, amplitudes, m);
        else
            read_elements(p, amplitudes, m);
        find_effective(p, 0, m, p->effective);
        if (effective) {
            write_matrix(p, p->effective, K * L, effective, 0);
            continue;
        }
        read_matrix(p, in[3], 0, L * K, p->beams);
        if (power)
            write_number(p, power_of(p, 0, m, p->beams), power);
        /* Over the noise's own size, so that no square leaves the range of single precision. */
        const num inverse_noise = 1 / root(read_number(p, in[4], 0));
        scale(K * L, inverse_noise, p->effective);
        multiply(K, L, K, p->effective, p->beams, p->received);
        find_links(p, p->received, NUM(1));
        for (idx k = 0; sinr && k < K; k++)
            USED_LANES(p, lane)
                write_one(s->single, sinr, p->item[lane] * K + k, get(p->ratio[k], lane));
        if (!rate)
            continue;
        for (idx k = 0; k < K; k++)
            p->weights[k] = read_number(p, in[5], k);
        const num reached = rate_of(K, p->ratio, p->weights);
        USED_LANES(p, lane)
            write_one(s->single, rate, p->item[lane], get(reached, lane));
        if (!d_amplitudes)
            continue;
        rate_adjoint(p, p->received, p->adjoint);
        multiply_left_dagger(L, K, K, p->effective, p->adjoint, d_beams);
        multiply_right_dagger(K, K, L, p->adjoint, p->beams, p->omega);
        scale(K * L, inverse_noise, p->omega);
        if (p->element) {
            find_turned_gradient(p, 0, p->omega);
            write_columns(p, p->d_q, 1, NUM(1), d_amplitudes);
        } else {
            pull_back(p, 0, p->omega, p->slope);
            write_elements(p, p->slope, d_amplitudes);
        }
        write_matrix(p, d_beams, L * K, d_digital, 0);
    }
    return concluded(&a, stopped(s));
}

OPERATOR(effective_channel) {
    return rate_beams(shape, in, 0, out[0], NULL, NULL, NULL, NULL, NULL);
}

OPERATOR(sinr) {
    return rate_beams(shape, in, 0, NULL, out[0], NULL, NULL, NULL, NULL);
}

OPERATOR(link_budget) {
    return rate_beams(shape, in, options[0] != 0, NULL, out[0], out[1], NULL, NULL, NULL);
}

OPERATOR(sum_rate) {
    return rate_beams(shape, in, 0, NULL, NULL, NULL, out[0], NULL, NULL);
}

OPERATOR(sum_rate_gradient) {
    return rate_beams(shape, in, 0, NULL, NULL, NULL, out[0], out[1], out[2]);
}
