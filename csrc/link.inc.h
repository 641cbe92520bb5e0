/* Workspace, and the operators on given beams, once for each precision.
 *
 * Included with REAL, V, W, ... and T(name) defined, after passes.inc.h; hmimo_fast.h says
 * what the operators take.
 */

/* Workspace of one thread, in one block of memory. */
typedef struct {
    idx K, N, L;         /* users, elements, feeds */
    idx ld, ldk, ldl;    /* padded: reals of a row over elements, users and feeds in double */
    REAL *channel;       /* F x K rows of ld, interleaved */
    REAL *waves;         /* phases x 2 L rows of stride(ld), of the phase's columns */
    REAL *spare;         /* max(K, L) rows of ld */
    REAL *strip;         /* MOST_ROWS x STRIP of T(product) */
    REAL *twice, *squares; /* ld each: every amplitude twice, and squared */
    REAL *slope;         /* ld / 2: a gradient over the elements */
    REAL *conjugates;    /* 2 K rows of stride(ld): waves of conjugate rows, or of a precoder */
    REAL *pairs;         /* 2 K rows of T(combine) */
    REAL *omega;         /* max(K, L) x L pairs */
    V *sums;             /* of T(product) */
    double *effective;   /* G^H, L x ldk */
    double *feeds;       /* L x ldl: Gram matrix S and its factor, or beam powers */
    double *whitened;    /* Y' = G'^H, L x ldk */
    double *beams;       /* Y with V = Y Psi, L x ldk */
    double *digital;     /* V, L x ldk */
    double *beams_out;   /* V^H or Y^H, K x ldl */
    double *square[6];   /* K x ldk each */
    double *coupling;    /* Omega^H, L x max(ldk, ldl) */
    double *weights;     /* ldk */
    double *users;       /* (K + 8) x ldk, for hf_links and the sweeps */
    idx *order;          /* K */
    double *block;       /* start of the memory, to free */
    hf_ahead ahead;      /* of the next item's channel */
    hf_links links;
    double *system;      /* K x ldk */
    hf_sweep sweep;
} T(work);

typedef struct {
    char *memory;
    size_t used;
} T(arena);

INLINE void *T(take)(T(arena) * arena, idx count, size_t size) {
    void *at = arena->memory + arena->used;
    arena->used += (size_t)round_up(count * (idx)size, 64);
    return at;
}

static size_t T(lay_out)(T(work) * w, idx channels, idx phases, char *memory) {
    T(arena) a = {memory, 0};
    const idx K = w->K, L = w->L, ld = w->ld, ldk = w->ldk, ldl = w->ldl;
    const idx most = K > L ? K : L, ld_most = ldk > ldl ? ldk : ldl;
    w->block = T(take)(&a, 0, 0);
    w->channel = T(take)(&a, channels * K * ld, sizeof(REAL));
    w->waves = T(take)(&a, phases * 2 * L * T(stride)(ld), sizeof(REAL));
    w->spare = T(take)(&a, most * ld, sizeof(REAL));
    w->strip = T(take)(&a, MOST_ROWS * STRIP, sizeof(REAL));
    w->twice = T(take)(&a, ld, sizeof(REAL));
    w->squares = T(take)(&a, ld, sizeof(REAL));
    w->slope = T(take)(&a, ld / 2, sizeof(REAL));
    w->omega = T(take)(&a, most * 2 * L, sizeof(REAL));
    w->conjugates = T(take)(&a, 2 * K * T(stride)(ld), sizeof(REAL));
    w->pairs = T(take)(&a, 2 * K * round_up(2 * K, WF), sizeof(REAL));
    w->sums = T(take)(&a, most * 2 * ld_most, sizeof(V));
    w->effective = T(take)(&a, L * 2 * ldk, 8);
    w->feeds = T(take)(&a, L * 2 * ldl, 8);
    w->whitened = T(take)(&a, L * 2 * ldk, 8);
    w->beams = T(take)(&a, L * 2 * ldk, 8);
    w->digital = T(take)(&a, L * 2 * ldk, 8);
    w->beams_out = T(take)(&a, K * 2 * ldl, 8);
    for (int i = 0; i < 6; i++)
        w->square[i] = T(take)(&a, K * 2 * ldk, 8);
    w->coupling = T(take)(&a, L * 2 * ld_most, 8);
    w->weights = T(take)(&a, ldk, 8);
    w->users = T(take)(&a, (K + 8) * ldk, 8);
    w->order = T(take)(&a, K, sizeof(idx));
    w->links = (hf_links){w->users, w->users + ldk, w->users + 2 * ldk, w->users + 6 * ldk};
    w->system = w->users + 8 * ldk;
    w->sweep = (hf_sweep){w->square[4], w->square[5], w->users + 3 * ldk, w->users + 4 * ldk};
    return a.used;
}

static int T(open)(T(work) * w, hf_shape s, idx channels, idx phases) {
    if (s.users > MOST || s.elements > MOST || s.feeds > MOST || channels > MOST || phases > MOST)
        return HF_TOO_LARGE;
    const double size = (double)s.users * (double)(s.elements + s.users + s.feeds) * channels +
                        (double)s.feeds * (double)(s.elements + s.feeds) * (phases + 1);
    if (size > 1e10)
        return HF_TOO_LARGE;
    w->K = s.users;
    w->N = s.elements;
    w->L = s.feeds;
    w->ld = round_up(2 * s.elements, 2 * W);
    w->ldk = round_up(s.users, WD);
    w->ldl = round_up(s.feeds, WD);
    const size_t bytes = T(lay_out)(w, channels, phases, NULL);
    char *memory = aligned_alloc(64, bytes);
    if (!memory)
        return HF_NO_MEMORY;
    T(lay_out)(w, channels, phases, memory);
    w->ahead = look_ahead(NULL, 0, 1);
    memset(w->weights, 0, (size_t)w->ldk * 8);
    memset(w->users, 0, (size_t)((w->K + 8) * w->ldk) * 8);
    return HF_OK;
}

INLINE const void *T(item)(hf_operand operand, idx b) {
    return (const char *)operand.data + b * operand.step;
}

INLINE double T(number)(hf_operand operand, idx b) { return *(const double *)T(item)(operand, b); }

/* Planar double rows from interleaved REAL. */
static void T(widen)(idx rows, idx columns, idx ld, const REAL *restrict from,
                     double *restrict to) {
    for (idx r = 0; r < rows; r++, from += 2 * columns, to += 2 * ld) {
        for (idx c = 0; c < columns; c++) {
            to[c] = from[2 * c];
            to[ld + c] = from[2 * c + 1];
        }
        for (idx c = columns; c < ld; c++)
            to[c] = to[ld + c] = 0;
    }
}

/* Whether any value lies outside [0, 1]; a NaN does not. */
static int T(outside_unit)(idx count, const REAL *values) {
    REAL low[W] = {0}, high[W] = {0};
    idx i = 0;
    for (; i + W <= count; i += W)
        for (int j = 0; j < W; j++) {
            low[j] = values[i + j] < low[j] ? values[i + j] : low[j];
            high[j] = values[i + j] > high[j] ? values[i + j] : high[j];
        }
    int outside = 0;
    for (int j = 0; j < W; j++)
        outside |= low[j] < 0 || high[j] > 1;
    for (; i < count; i++)
        outside |= values[i] < 0 || values[i] > 1;
    return outside;
}

/* Interleaved REAL from planar double rows. */
static void T(narrow)(idx rows, idx columns, idx ld, const double *restrict from,
                      REAL *restrict to) {
    for (idx r = 0; r < rows; r++, to += 2 * columns)
        for (idx c = 0; c < columns; c++) {
            to[2 * c] = (REAL)RE(from, r, ld)[c];
            to[2 * c + 1] = (REAL)IM(from, r, ld)[c];
        }
}

/* The waves of an item's phase, unless the batch shares it and has it already. */
static void T(load_phase)(T(work) * w, hf_operand phase, idx b) {
    if (b == 0 || phase.step)
        T(make_waves)(w->N, w->L, w->ld, T(item)(phase, b), w->waves);
}

/* An item's rows: where they are if they are whole vectors, else a padded copy. */
INLINE const REAL *T(load_channel)(T(work) * w, hf_operand channel, idx b) {
    const REAL *rows = T(item)(channel, b);
    if (w->ld == 2 * w->N)
        return rows;
    T(copy_rows)(w->K, w->N, w->ld, rows, w->channel);
    return w->channel;
}

/* G^H, G = H diag(m) Phi, into w->effective, from rows and waves at the amplitudes in w->twice. */
static void T(find_effective)(T(work) * w, const REAL *channel, const REAL *waves) {
    T(product)(w->K, w->L, w->ld, w->twice, channel, w->ld, waves, &w->ahead, w->strip, w->sums,
               w->effective, w->ldk);
}

static int T(effective_channel)(hf_shape s, hf_operand channel, hf_operand amplitudes,
                                hf_operand phase, void *effective) {
    T(work) w;
    const int status = T(open)(&w, s, 1, 1);
    if (status)
        return status;
    for (idx b = 0; b < s.batch; b++) {
        T(load_phase)(&w, phase, b);
        T(duplicate)(w.N, w.ld, T(item)(amplitudes, b), w.twice);
        T(find_effective)(&w, T(load_channel)(&w, channel, b), w.waves);
        dagger(w.L, w.K, w.effective, w.ldk, w.beams_out, w.ldl);
        T(narrow)(w.K, w.L, w.ldl, w.beams_out, (REAL *)effective + 2 * b * w.K * w.L);
    }
    free(w.block);
    return HF_OK;
}

/* SINR, rate and gradients of given beams; each result where its pointer is not NULL. */
static int T(rates)(hf_shape s, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                    hf_operand digital, hf_operand noise_power, hf_operand weights, REAL *sinr,
                    REAL *rate, REAL *d_amplitudes, REAL *d_digital) {
    T(work) w;
    const int status = T(open)(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, N = w.N, L = w.L;
    double *received = w.square[0], *adjoint = w.square[1];
    for (idx b = 0; b < s.batch; b++) {
        T(load_phase)(&w, phase, b);
        T(duplicate)(N, w.ld, T(item)(amplitudes, b), w.twice);
        const REAL *rows = T(load_channel)(&w, channel, b);
        if (b + 1 < s.batch) {
            w.ahead = look_ahead(T(item)(channel, b + 1), channel.step, d_amplitudes ? 2 : 1);
            touch(T(item)(digital, b + 1), digital.step);
            touch(T(item)(amplitudes, b + 1), amplitudes.step);
        }
        T(find_effective)(&w, rows, w.waves);
        T(widen)(L, K, w.ldk, T(item)(digital, b), w.digital);
        multiply_dagger(K, L, w.effective, w.ldk, w.digital, w.ldk, received);
        find_links(K, w.ldk, received, T(number)(noise_power, b), w.links);
        if (sinr)
            for (idx k = 0; k < K; k++)
                sinr[b * K + k] = (REAL)w.links.ratio[k];
        if (!rate)
            continue;
        memcpy(w.weights, T(item)(weights, b), (size_t)K * 8);
        rate[b] = (REAL)rate_of(w.ldk, w.links.ratio, w.weights);
        if (!d_amplitudes)
            continue;
        if (b + 1 < s.batch) {
            claim(d_amplitudes + (b + 1) * N, N * (idx)sizeof(REAL));
            claim(d_digital + 2 * (b + 1) * L * K, 2 * L * K * (idx)sizeof(REAL));
        }
        rate_adjoint(K, w.ldk, received, w.weights, w.links, adjoint);
        dagger(K, K, adjoint, w.ldk, w.square[2], w.ldk);
        multiply(L, K, w.digital, w.ldk, w.square[2], w.ldk, w.coupling); /* Omega^H = V C^H */
        T(pull_back)(K, L, w.ld, rows, w.ld, w.waves, 0, w.coupling, w.ldk, &w.ahead, w.omega,
                     w.slope);
        memcpy(d_amplitudes + b * N, w.slope, (size_t)N * sizeof(REAL));
        multiply(L, K, w.effective, w.ldk, adjoint, w.ldk, w.digital);
        T(narrow)(L, K, w.ldk, w.digital, d_digital + 2 * b * L * K);
    }
    free(w.block);
    return HF_OK;
}

static int T(sinr)(hf_shape s, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                   hf_operand digital, hf_operand noise_power, void *sinr) {
    const hf_operand none = {NULL, 0};
    return T(rates)(s, channel, amplitudes, phase, digital, noise_power, none, sinr, NULL, NULL,
                    NULL);
}

static int T(sum_rate)(hf_shape s, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                       hf_operand digital, hf_operand noise_power, hf_operand weights,
                       void *rate) {
    return T(rates)(s, channel, amplitudes, phase, digital, noise_power, weights, NULL, rate,
                    NULL, NULL);
}

static int T(sum_rate_gradient)(hf_shape s, hf_operand channel, hf_operand amplitudes,
                                hf_operand phase, hf_operand digital, hf_operand noise_power,
                                hf_operand weights, void *rate, void *d_amplitudes,
                                void *d_digital) {
    return T(rates)(s, channel, amplitudes, phase, digital, noise_power, weights, NULL, rate,
                    d_amplitudes, d_digital);
}

/* out = E^H Psi, (n, columns) interleaved, from interleaved rows `step` apart and pairs:
 * for each row (re Psi_0, im Psi_0, ...) then (im Psi_0, -re Psi_0, ...), ld_pairs each.
 * `count` elements (a constant) from i on; not `whole`: vectors may pass the end of out. */
INLINE void T(combine_block)(const int count, const int whole, idx rows, idx width, idx i, idx n,
                             const REAL *restrict e, idx step, const REAL *restrict pairs,
                             idx ld_pairs, REAL *restrict out) {
    for (idx at = round_up(width, W) - W; at >= 0; at -= W) { /* a spill is overwritten next */
        V sum[4];
        for (int j = 0; j < count; j++)
            sum[j] = (V){0};
        for (idx r = 0; r < rows; r++) {
            const V one = *(const V *)(pairs + 2 * r * ld_pairs + at);
            const V two = *(const V *)(pairs + (2 * r + 1) * ld_pairs + at);
            const REAL *entry = e + r * step + 2 * i;
            for (int j = 0; j < count; j++)
                sum[j] += entry[2 * j] * one;
            for (int j = 0; j < count; j++)
                sum[j] += entry[2 * j + 1] * two;
        }
        for (int j = 0; j < count; j++) {
            const idx to = (i + j) * width + at; /* past a row's end comes the next row */
            if (whole || to + W <= width * n)
                *(V_any *)(out + to) = sum[j];
            else
                memcpy(out + to, &sum[j], (size_t)(width - at < W ? width - at : W) * sizeof(REAL));
        }
    }
}

static void T(combine)(idx rows, idx columns, idx n, const REAL *restrict e, idx step,
                       const REAL *restrict pairs, idx ld_pairs, REAL *restrict out) {
    const idx width = 2 * columns;
    idx i = 0;
    for (; (i + 4) * width + W <= n * width; i += 4)
        T(combine_block)(4, 1, rows, width, i, n, e, step, pairs, ld_pairs, out);
    for (; i < n; i++)
        T(combine_block)(1, 0, rows, width, i, n, e, step, pairs, ld_pairs, out);
}

/* The pairs of T(combine) from a planar matrix. */
static void T(make_pairs)(idx rows, idx columns, const double *m, idx ld, REAL *restrict pairs,
                          idx ld_pairs) {
    memset(pairs, 0, (size_t)(2 * rows * ld_pairs) * sizeof(REAL));
    for (idx r = 0; r < rows; r++, pairs += 2 * ld_pairs)
        for (idx c = 0; c < columns; c++) {
            pairs[2 * c] = (REAL)RE(m, r, ld)[c];
            pairs[2 * c + 1] = pairs[ld_pairs + 2 * c] = (REAL)IM(m, r, ld)[c];
            pairs[ld_pairs + 2 * c + 1] = -(REAL)RE(m, r, ld)[c];
        }
}
