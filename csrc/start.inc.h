/* The start of an ascent: the order of users, and amplitudes fitted to their channels
 * (docs/mathematics.md, "Starts"). */

#define FITTINGS 3     /* rounds of the fit; one is enough for amplitudes of several candidates
                        * under `digital` power */
#define MATCHINGS 2    /* rounds of alternating weights and matched beam of a user alone */
/* Regularisation of the Gram matrix, relative to a user's gain, for dependent channels. */
#define ALIKE (sizeof(real) == 4 ? 8 * EPSILON : 1e-8)

/* H H^H of channel f (K x K). */
static void find_channel_gram(const problem *p, idx f, cpx *gram) {
    const idx K = p->K, n = p->n;
    const cvec *h = channel_of(p, f);
    for (idx r = 0; r < K; r++)
        for (idx c = r; c < K; c++) {
            vec re[2] = {{0}}, im[2] = {{0}};
            for (idx i = 0; i < n; i++) {
                const cvec x = h[i * K + r], y = h[i * K + c];
                re[0] += x.re * y.re;
                im[0] += x.im * y.re;
                re[1] += x.im * y.im;
                im[1] -= x.re * y.im;
            }
            gram[r * K + c] = (cpx){total(re[0] + re[1]), total(im[0] + im[1])};
            gram[c * K + r] = conjugate(gram[r * K + c]);
        }
}

/* What each user alone would receive under `digital` power: in turns, the elements that help it and
 * the beam matched to them.  heard: workspace (n x K). */
static void find_solo_gains(problem *p, cvec *heard, const vec *ones, num *gain) {
    const idx K = p->K, L = p->L, n = p->n;
    const vec zero = {0};
    for (idx k = 0; k < K; k++)
        gain[k] = NUM(0);
    for (idx f = 0; f < p->F; f++) {
        const cvec *h = channel_of(p, f);
        find_effective(p, f, ones, p->effective);
        for (int round = 0; round < MATCHINGS; round++) {
            for (idx l = 0; l < L; l++)
                for (idx k = 0; k < K; k++)
                    p->beams[l * K + k] = conjugate(p->effective[k * L + l]);
            for (idx at = 0; at < n; at += STRIP) {
                const idx count = least(STRIP, n - at);
                find_fields(p, f, at, count, p->beams, p->field);
                for (idx i = 0; i < count * K; i++) {
                    const cvec x = h[at * K + i], z = p->field[i];
                    const cvec own = {x.re * z.re - x.im * z.im, x.re * z.im + x.im * z.re};
                    cvec q = {choose(own.re > zero, VEC(1), zero), zero};
                    if (p->element) /* the weight nearest to the direction in which it helps */
                        q = least_weight(p->element, zero, (cvec){own.re, -own.im}, q);
                    heard[at * K + i] = (cvec){x.re * q.re - x.im * q.im, x.re * q.im + x.im * q.re};
                }
            }
            pass_forward(p, f, heard, ones, p->effective);
        }
        for (idx k = 0; k < K; k++)
            gain[k] += channel_in_use(p, f) *
                       inner_product(L, p->effective + k * L, p->effective + k * L);
    }
    for (idx k = 0; k < K; k++)
        gain[k] = over_channels(p, gain[k]);
}

/* (H H^H)^-1 of the users served, zero for the others. */
static void find_metric(const problem *p, const cpx *gram, cpx *metric) {
    const idx K = p->K;
    restrict_gram(K, p->served, gram, metric);
    for (idx k = 0; k < K; k++) {
        num *gain = &metric[k * K + k].re;
        *gain = pick(*gain > 0, *gain * (real)(1 + ALIKE), NUM(1));
    }
    invert(K, metric);
    for (idx i = 0; i < K * K; i++)
        metric[i] = scaled(p->served[i / K] * p->served[i % K], metric[i]);
}

/* Moves s->m halfway to amplitudes, or all the way to the states of complex weights, whose beams
 * span what the users receive from: least squares of H^H - diag(q) Phi C in
 * the metric, over C and m in turns.  Zero channels keep the start. */
static void fit(problem *p, ascent *s, const cpx *metrics) {
    const idx K = p->K, L = p->L, n = p->n;
    vec *found = s->trial, *share = s->gradient, *size = s->trial_gradient;
    vec *quadrature = s->direction; /* the imaginary part of the share */
    const int rounds = p->radiated || p->element || p->dual ? FITTINGS : 1;
    num hears = NUM(1);
    memcpy(found, s->m, (size_t)n * sizeof(vec));
    for (int round = 0; round < rounds; round++) {
        memset(share, 0, (size_t)n * sizeof(vec));
        memset(quadrature, 0, (size_t)n * sizeof(vec));
        memset(size, 0, (size_t)n * sizeof(vec));
        for (idx f = 0; f < p->F; f++) {
            const vec counts = spread(channel_in_use(p, f));
            whiten(p, f, found, 1); /* C is Y under radiated power */
            multiply(L, K, K, p->carrier, metrics + f * K * K, p->beams);
            for (idx l = 0; l < L; l++)
                for (idx k = 0; k < K; k++)
                    p->omega[k * L + l] = conjugate(p->beams[l * K + k]);
            if (p->element) {
                find_turned_gradient(p, f, p->omega);
                for (idx i = 0; i < n; i++) {
                    share[i] += counts * p->d_q[i].re;
                    quadrature[i] += counts * p->d_q[i].im;
                }
            } else {
                pull_back(p, f, p->omega, p->slope);
                for (idx i = 0; i < n; i++)
                    share[i] += counts * p->slope[i];
            }
            multiply_right_dagger(L, K, L, p->beams, p->carrier, p->radiating);
            pull_back_feeds(p, f, p->radiating, p->sums, p->slope);
            for (idx i = 0; i < n; i++)
                size[i] += counts * p->slope[i];
        }
        vec top = {0};
        for (idx i = 0; i < n; i++) {
            add_channels(p, &share[i]);
            add_channels(p, &size[i]);
            if (p->element) {
                add_channels(p, &quadrature[i]);
                const cvec pull = {share[i], quadrature[i]};
                found[i] = state_of(p->element, least_weight(p->element, size[i], pull, p->q[i]));
                top = choose(size[i] > top, size[i], top);
                continue;
            }
            const vec best = share[i] / size[i];
            found[i] = choose((best > 0) & (best < (real)HUGE_REAL), best, (vec){0});
            top = choose(found[i] > top, found[i], top);
        }
        const num highest = largest(top);
        hears = pick(highest > 0, hears, NUM(0));
        const vec inverse = spread(pick(highest > 0, 1 / highest, NUM(0)));
        for (idx i = 0; !p->element && i < n; i++)
            found[i] *= inverse;
    }
    const lanes moved = spread_mask(hears > 0);
    for (idx i = 0; i < n; i++) {
        const vec to = either(p->element, found[i], (real)0.5 * (s->m[i] + found[i]));
        s->m[i] = choose(moved & (p->free[i] > 0), to, s->m[i]);
    }
}
