/* Workspace, and the operators on given beams, once for each precision.
 *
 * Included with REAL, V, W, ... and T(name) defined, after passes.inc.h; hmimo_fast.h says
 * what the operators take.  An item's channel and phase are made planar once.
 */

/* Workspace of one thread, in one block of memory. */
typedef struct {
    idx K, N, L;         /* users, elements, feeds */
    idx ldn, ldk, ldl;   /* padded: elements in REAL, users and feeds in double */
    REAL *channel;       /* F x K planar rows */
    REAL *phase;         /* phases x L planar rows */
    REAL *surface;       /* L planar rows of diag(m) Phi */
    REAL *amplitudes;    /* ldn */
    REAL *slope;         /* ldn, a gradient over the elements */
    REAL *omega;         /* planar, max(K, L) x ldl */
    V *sums;             /* of T(product) */
    double *effective;   /* G, K x ldl */
    double *feeds;       /* L x ldl: Gram matrix S and its factor, or beam powers */
    double *whitened;    /* Y' = G'^H, L x ldk */
    double *beams;       /* Y with V = Y Psi, L x ldk */
    double *digital;     /* V, L x ldk */
    double *beams_out;   /* V^H or Y^H, K x ldl */
    double *square[6];   /* K x ldk each */
    double *coupling;    /* max(K, L) x ldl */
    double *weights;     /* ldk */
    double *users;       /* (K + 4) x ldk, for hf_links and the sweeps */
    idx *order;          /* K */
    double *block;       /* start of the memory, to free */
    hf_links links;
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
    const idx K = w->K, L = w->L, ldn = w->ldn, ldk = w->ldk, ldl = w->ldl;
    const idx most = K > L ? K : L, ld_most = ldk > ldl ? ldk : ldl;
    w->block = T(take)(&a, 0, 0);
    w->channel = T(take)(&a, channels * K * 2 * ldn, sizeof(REAL));
    w->phase = T(take)(&a, phases * L * 2 * ldn, sizeof(REAL));
    w->surface = T(take)(&a, L * 2 * ldn, sizeof(REAL));
    w->amplitudes = T(take)(&a, ldn, sizeof(REAL));
    w->slope = T(take)(&a, ldn, sizeof(REAL));
    w->omega = T(take)(&a, most * 2 * ldl, sizeof(REAL));
    w->sums = T(take)(&a, most * 2 * ld_most, sizeof(V));
    w->effective = T(take)(&a, K * 2 * ldl, 8);
    w->feeds = T(take)(&a, L * 2 * ldl, 8);
    w->whitened = T(take)(&a, L * 2 * ldk, 8);
    w->beams = T(take)(&a, L * 2 * ldk, 8);
    w->digital = T(take)(&a, L * 2 * ldk, 8);
    w->beams_out = T(take)(&a, K * 2 * ldl, 8);
    for (int i = 0; i < 6; i++)
        w->square[i] = T(take)(&a, K * 2 * ldk, 8);
    w->coupling = T(take)(&a, most * 2 * ldl, 8);
    w->weights = T(take)(&a, ldk, 8);
    w->users = T(take)(&a, (K + 4) * ldk, 8);
    w->order = T(take)(&a, K, sizeof(idx));
    w->links = (hf_links){w->users, w->users + ldk, w->users + 2 * ldk, w->users + 4 * ldk};
    w->sweep = (hf_sweep){w->square[4], w->square[5], w->users + 3 * ldk};
    return a.used;
}

/* Sizes past any real problem are refused before products of them can overflow. */
static int T(open)(T(work) * w, hf_shape s, idx channels, idx phases) {
    const idx most = (idx)1 << 24;
    const double size = (double)s.users * (double)(s.elements + s.users + s.feeds) * channels +
                        (double)s.feeds * (double)(s.elements + s.feeds) * (phases + 1);
    if (s.users > most || s.elements > most || s.feeds > most || channels > most || size > 1e10)
        return HF_TOO_LARGE;
    w->K = s.users;
    w->N = s.elements;
    w->L = s.feeds;
    w->ldn = round_up(s.elements, W);
    w->ldk = round_up(s.users, WD);
    w->ldl = round_up(s.feeds, WD);
    const size_t bytes = T(lay_out)(w, channels, phases, NULL);
    char *memory = aligned_alloc(64, bytes);
    if (!memory)
        return HF_NO_MEMORY;
    T(lay_out)(w, channels, phases, memory);
    memset(w->weights, 0, (size_t)w->ldk * 8);
    memset(w->users, 0, (size_t)((w->K + 4) * w->ldk) * 8);
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

/* The same from columns: a planar row for each. */
static void T(widen_columns)(idx n, idx columns, idx ld, const REAL *restrict from,
                             double *restrict to) {
    for (idx c = 0; c < columns; c++, to += 2 * ld) {
        for (idx i = 0; i < n; i++) {
            to[i] = from[2 * (i * columns + c)];
            to[ld + i] = from[2 * (i * columns + c) + 1];
        }
        for (idx i = n; i < ld; i++)
            to[i] = to[ld + i] = 0;
    }
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

static void T(load_amplitudes)(T(work) * w, const REAL *from) {
    memcpy(w->amplitudes, from, (size_t)w->N * sizeof(REAL));
    for (idx i = w->N; i < w->ldn; i++)
        w->amplitudes[i] = 0;
}

/* The item's phase as a planar row a feed, unless the batch shares it and has it already. */
static void T(load_phase)(T(work) * w, hf_operand phase, idx b) {
    if (b > 0 && phase.step == 0)
        return;
    const REAL *from = T(item)(phase, b);
    for (idx l = 0; l < w->L; l++) {
        REAL *to = w->phase + 2 * l * w->ldn;
        for (idx n = 0; n < w->ldn; n++) {
            to[n] = n < w->N ? from[2 * (n * w->L + l)] : 0;
            to[w->ldn + n] = n < w->N ? from[2 * (n * w->L + l) + 1] : 0;
        }
    }
}

/* G = H diag(m) Phi from planar channel and phase, into w->effective. */
static void T(find_effective)(T(work) * w, const REAL *channel, const REAL *phase) {
    T(scale_rows)(w->L, w->ldn, w->amplitudes, phase, w->surface);
    T(product)(w->K, w->L, w->ldn, channel, w->surface, 0, 0, w->sums, w->effective, w->ldl);
}

static int T(effective_channel)(hf_shape s, hf_operand channel, hf_operand amplitudes,
                                hf_operand phase, void *effective) {
    T(work) w;
    const int status = T(open)(&w, s, 1, 1);
    if (status)
        return status;
    for (idx b = 0; b < s.batch; b++) {
        T(load_phase)(&w, phase, b);
        T(load_amplitudes)(&w, T(item)(amplitudes, b));
        T(split)(w.K, w.N, w.ldn, T(item)(channel, b), w.channel);
        T(find_effective)(&w, w.channel, w.phase);
        T(narrow)(w.K, w.L, w.ldl, w.effective, (REAL *)effective + 2 * b * w.K * w.L);
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
        T(load_amplitudes)(&w, T(item)(amplitudes, b));
        T(split)(K, N, w.ldn, T(item)(channel, b), w.channel);
        T(find_effective)(&w, w.channel, w.phase);
        T(widen)(L, K, w.ldk, T(item)(digital, b), w.digital);
        multiply(K, L, w.effective, w.ldl, w.digital, w.ldk, received);
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
        rate_adjoint(K, w.ldk, received, w.weights, w.links, adjoint);
        dagger(L, K, w.digital, w.ldk, w.beams_out, w.ldl);
        multiply(K, K, adjoint, w.ldk, w.beams_out, w.ldl, w.coupling);
        T(pull_back)(K, L, w.ldn, w.channel, w.phase, 0, w.coupling, w.ldl, w.omega, w.slope);
        memcpy(d_amplitudes + b * N, w.slope, (size_t)N * sizeof(REAL));
        multiply_dagger(L, K, w.effective, w.ldl, adjoint, w.ldk, w.digital);
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
