/* The fused loops: a whole solve of one problem in double, whatever the arrays hold.
 *
 * With S = Phi^H diag(m)^2 Phi = U^H U under `radiated` power (U = I under `digital`),
 * Y' = U^{-H} G^H and Y = U^{-1} Y', every beamformer is V = Y Psi, its power is that of
 * Y' Psi, and all rates follow from Psi and X = Y'^H Y'.  reference.py is the definition.
 */

#ifndef HF_SOLVE_H
#define HF_SOLVE_H

#include "precode.h"

#define MEMORY 3              /* steps that an ascent remembers */
#define FITTINGS 3            /* rounds of the fit of a start to the channel */
#define ALIKE 1e-8            /* of a user's gain: keeps channels that depend apart */
#define RECENT 5              /* rates, the least of which a step must exceed */
#define FIRST_MOVE 0.2        /* of the element with the largest gradient */
#define HEADROOM 10           /* of m under `radiated` power, whose scale is free */
/* Share of the general stage that every candidate makes, inverse, and times the noise there. */
#define PRELUDE 3
#define PRELUDE_NOISE(radiated) ((radiated) ? 1.5 : 4)
#define DIMMEST 0.5           /* factor of the amplitudes of a candidate */
#define MOST_PAIRS 65536      /* doubles of the products of feeds of a phase */
#define MOST_STEPS 100        /* between two zero forcings of `alternating` */

/* log10 links with older C libraries than log2. */
static double log_2(double x) { return log10(x) * 3.321928094887362; }

/* Vectors over users (ldk lanes, zero past K) of the dual uplink. */
typedef struct {
    double *target;   /* least SINR */
    double *min_rate; /* the same in bit/s/Hz */
    double *share;    /* lambda: of the power */
    double *half;     /* lambda^{1/2} */
    double *diagonal; /* T_kk */
    double *ratio;    /* SINR */
    double *beta;     /* weights for which lambda is stationary */
    double *least;    /* share that reaches the target */
    double *filled;   /* next lambda */
    double *pull, *ones;
} dual_link;

/* A problem in its workspace, with the state of the loops. */
typedef struct {
    work_d w;
    idx F, phases;
    int single; /* precision of the arrays */
    double power, noise_power, phase_size;
    int radiated;
    int64_t sweeps;
    idx psi_size;                                  /* of one channel's Psi: 2 K ldk */
    idx n;                                         /* N, padded */
    double *m, *start, *trial, *direction;         /* n each */
    double *best, *zf;                             /* n: of a stage, of ZF */
    double *kept, *kept_zf;                        /* the same of the best candidate */
    double *gradient, *trial_gradient;             /* n each */
    double *bent, *moves, *bends;                  /* n; MEMORY x n each, rings */
    double *psi, *trial_psi;                       /* F Psi each */
    double *best_psi, *zf_psi, *kept_psi, *kept_zf_psi;
    double *metric;                                /* F x K x ldk */
    double *beams, *best_beams;                    /* V: F x L x ldk */
    idx products;                                  /* rows of `pairs` of a phase, 0 for none */
    double *pairs;                                 /* phases x products rows of n, see pair_up */
    double *squares, *packed;                      /* m^2, n; a row of pairs in one number each */
    dual_link dual;
    int floored, fits;                             /* any minimum rate; met in this channel */
    double *state;                                 /* start of the memory, to free */
} problem;

static size_t lay_out_problem(problem *p, char *memory) {
    arena_d a = {memory, 0};
    const work_d *w = &p->w;
    p->psi_size = 2 * w->K * w->ldk;
    p->n = w->ld / 2;
    p->state = take_d(&a, 0, 0);
    double **vectors[] = {&p->m,         &p->trial,    &p->best,          &p->zf,
                          &p->direction, &p->gradient, &p->trial_gradient, &p->start,
                          &p->kept,      &p->kept_zf};
    for (int i = 0; i < 10; i++)
        *vectors[i] = take_d(&a, p->n, 8);
    p->bent = take_d(&a, p->n, 8);
    p->moves = take_d(&a, MEMORY * p->n, 8);
    p->bends = take_d(&a, MEMORY * p->n, 8);
    double **psis[] = {&p->psi,      &p->trial_psi,   &p->best_psi, &p->zf_psi,
                       &p->kept_psi, &p->kept_zf_psi, &p->metric};
    for (int i = 0; i < 7; i++)
        *psis[i] = take_d(&a, p->F * p->psi_size, 8);
    p->beams = take_d(&a, p->F * 2 * w->L * w->ldk, 8);
    p->best_beams = take_d(&a, p->F * 2 * w->L * w->ldk, 8);
    p->pairs = take_d(&a, p->phases * p->products * p->n, 8);
    p->squares = take_d(&a, p->n, 8);
    p->packed = take_d(&a, p->products, 8);
    dual_link *d = &p->dual;
    double **users[] = {&d->target, &d->min_rate, &d->share, &d->half,   &d->diagonal, &d->ratio,
                        &d->beta,   &d->least,    &d->filled, &d->pull, &d->ones};
    for (int i = 0; i < 11; i++)
        *users[i] = take_d(&a, w->ldk, 8);
    return a.used;
}

static int open_problem(problem *p, hf_shape s, int radiated, int64_t sweeps) {
    const int status = open_d(&p->w, s, s.channels, s.phases);
    if (status)
        return status;
    p->single = s.single;
    p->F = s.channels;
    p->phases = s.phases;
    p->radiated = radiated;
    p->sweeps = sweeps;
    p->products = radiated ? round_up(s.feeds * s.feeds, 8) : 0;
    if (p->products * p->w.ld / 2 > MOST_PAIRS)
        p->products = 0;
    char *memory = aligned_alloc(64, lay_out_problem(p, NULL));
    if (!memory) {
        free(p->w.block);
        return HF_NO_MEMORY;
    }
    lay_out_problem(p, memory);
    p->floored = 0;
    const size_t users = (size_t)(p->dual.ones - p->dual.target + p->w.ldk);
    memset(p->dual.target, 0, users * 8);
    for (idx k = 0; k < p->w.K; k++)
        p->dual.ones[k] = 1;
    return HF_OK;
}

static void close_problem(problem *p) {
    free(p->state);
    free(p->w.block);
}

#define SWAP(a, b)      \
    do {                \
        double *t = a;  \
        a = b;          \
        b = t;          \
    } while (0)

#define EACH(i) for (idx i = 0; i < p->n; i += WD)

static double dot(const problem *p, const double *a, const double *b) {
    VD sums[2] = {{0}};
    idx i = 0;
    for (; i + 2 * WD <= p->n; i += 2 * WD)
        for (int j = 0; j < 2; j++)
            sums[j] += load(a + i + j * WD) * load(b + i + j * WD);
    if (i < p->n)
        sums[0] += load(a + i) * load(b + i);
    return add_up(sums[0] + sums[1]);
}

/* Rows over the elements of conj(Phi_nl) Phi_nr: the real parts for l <= r, then the imaginary
 * parts for l < r.  S is their sum with m_n^2, a quarter of the work of the passes, which surfaces
 * take whose rows would leave the second-level cache. */
static void pair_up(const problem *p, const double *waves, double *to) {
    const idx L = p->w.L, step = stride_d(p->w.ld), n = p->n;
    memset(to, 0, (size_t)(p->products * n) * 8);
    for (int imaginary = 0; imaginary < 2; imaginary++)
        for (idx l = 0; l < L; l++)
            for (idx r = l + imaginary; r < L; r++, to += n) {
                const double *a = waves + 2 * l * step, *b = waves + 2 * r * step; /* conj Phi */
                for (idx i = 0; i < n; i++)
                    to[i] = imaginary ? a[2 * i + 1] * b[2 * i] - a[2 * i] * b[2 * i + 1]
                                      : a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
            }
}

/* Loads item b; returns whether all of it is finite. */
static int load_problem(problem *p, hf_problem from, idx b) {
    work_d *w = &p->w;
    read_rows(p->single, p->F * w->K, w->N, w->ld, item_d(from.channel, b), w->channel);
    if (b == 0 || from.phase.step) {
        const char *phase = item_d(from.phase, b);
        const idx bytes = 2 * w->N * w->L * (p->single ? 4 : 8);
        for (idx g = 0; g < p->phases; g++)
            read_waves(p->single, w->N, w->L, w->ld, phase + g * bytes,
                       w->waves + 2 * g * w->L * stride_d(w->ld));
        p->phase_size = norm2(p->phases * w->L, stride_d(w->ld), w->waves);
        for (idx g = 0; p->products && g < p->phases; g++)
            pair_up(p, w->waves + 2 * g * w->L * stride_d(w->ld),
                    p->pairs + g * p->products * p->n);
    }
    read_reals(p->single, w->N, p->n, item_d(from.amplitudes, b), p->m);
    memcpy(w->weights, item_d(from.weights, b), (size_t)w->K * 8);
    p->power = number_d(from.power, b);
    p->noise_power = number_d(from.noise_power, b);
    const double size = norm2(p->F * w->K, w->ld / 2, w->channel);
    return isfinite(size + p->phase_size + dot(p, p->m, p->m));
}

INLINE const double *channel_of(const problem *p, idx f) {
    return p->w.channel + f * p->w.K * p->w.ld;
}

INLINE const double *waves_of(const problem *p, idx f) {
    return p->w.waves + (p->phases > 1 ? 2 * f * p->w.L * stride_d(p->w.ld) : 0);
}

static void set_amplitudes(problem *p, const double *m) {
    duplicate_d(p->w.N, p->w.ld, m, p->w.twice);
    EACH(i) store(p->squares + i, load(m + i) * load(m + i));
}

INLINE const double *pairs_of(const problem *p, idx f) {
    return p->pairs + (p->phases > 1 ? f * p->products * p->n : 0);
}

/* S of channel f at the amplitudes set, into w->feeds. */
static void find_feeds(problem *p, idx f) {
    work_d *w = &p->w;
    if (!p->products) {
        find_feed_gram(w, waves_of(p, f), w->feeds);
        return;
    }
    const double *pairs = pairs_of(p, f), *from = p->packed;
    for (idx e = 0; e < p->products; e += WD, pairs += WD * p->n) {
        VD sums[WD] = {{0}};
        EACH(i) {
            const VD square = load(p->squares + i);
            for (int j = 0; j < WD; j++)
                sums[j] += square * load(pairs + j * p->n + i);
        }
        store(p->packed + e, add_lanes_d(sums));
    }
    clear(w->L, w->ldl, w->feeds);
    for (idx l = 0; l < w->L; l++)
        for (idx r = l; r < w->L; r++)
            RE(w->feeds, l, w->ldl)[r] = *from++;
    for (idx l = 0; l < w->L; l++)
        for (idx r = l + 1; r < w->L; r++)
            IM(w->feeds, l, w->ldl)[r] = *from++;
    mirror(w->L, w->ldl, w->feeds);
}

/* Phi_n Q Phi_n^H at each element into w->slope, with Q, which is spoiled, in w->feeds. */
static void pull_back_feeds(problem *p, idx f) {
    work_d *w = &p->w;
    if (!p->products) {
        for (idx r = 0; r < w->L; r++)
            for (idx i = 0; i < 2; i++) {
                double *row = w->feeds + (2 * r + i) * w->ldl;
                for (idx c = 0; c < w->ldl; c++)
                    row[c] *= c > r ? 2 : c == r;
            }
        pull_back_d(w->L, w->L, w->ld, waves_of(p, f), 2 * stride_d(w->ld), waves_of(p, f), 1,
                    w->feeds, w->ldl, &w->ahead, w->omega, w->slope);
        return;
    }
    double *to = p->packed;
    for (idx l = 0; l < w->L; l++)
        for (idx r = l; r < w->L; r++)
            *to++ = (1 + (r > l)) * RE(w->feeds, l, w->ldl)[r];
    for (idx l = 0; l < w->L; l++)
        for (idx r = l + 1; r < w->L; r++)
            *to++ = 2 * IM(w->feeds, l, w->ldl)[r];
    const double *pairs = pairs_of(p, f);
    const idx products = w->L * w->L;
    idx i = 0;
    for (; i + 4 * WD <= p->n; i += 4 * WD) {
        VD sums[4] = {{0}};
        for (idx e = 0; e < products; e++)
            for (int j = 0; j < 4; j++)
                sums[j] += p->packed[e] * load(pairs + e * p->n + i + j * WD);
        for (int j = 0; j < 4; j++)
            store(w->slope + i + j * WD, sums[j]);
    }
    for (; i < p->n; i += WD) {
        VD sum = {0};
        for (idx e = 0; e < products; e++)
            sum += p->packed[e] * load(pairs + e * p->n + i);
        store(w->slope + i, sum);
    }
}

/* G^H of channel f at the amplitudes set and, under `radiated` power, S into w->feeds. */
static void find_link(problem *p, idx f) {
    find_effective_d(&p->w, channel_of(p, f), waves_of(p, f));
    if (p->radiated)
        find_feeds(p, f);
}

/* Power of V, with S in w->feeds. */
static double power_of(problem *p, const double *beams) {
    work_d *w = &p->w;
    if (!p->radiated)
        return norm2(w->L, w->ldk, beams);
    multiply(w->L, w->L, w->feeds, w->ldl, beams, w->ldk, w->digital);
    return inner_product(w->L, w->ldk, beams, w->digital);
}

/* Y' and Y of G^H and S, which is spoiled; X into gram.  At m = 0 both are zero. */
static void whiten_link(problem *p, double *gram) {
    work_d *w = &p->w;
    const size_t bytes = (size_t)(2 * w->L * w->ldk) * 8;
    memcpy(w->whitened, w->effective, bytes);
    if (p->radiated) {
        double guard = 0;
        for (idx l = 0; l < w->L; l++)
            guard += RE(w->feeds, l, w->ldl)[l];
        guard *= TINY / (double)w->L;
        for (idx l = 0; l < w->L; l++)
            RE(w->feeds, l, w->ldl)[l] += guard;
        if (guard > 0 && factor(w->L, w->ldl, w->feeds) > 0) {
            solve_lower(w->L, w->feeds, w->ldl, w->ldk, w->whitened);
            memcpy(w->beams, w->whitened, bytes);
            solve_upper(w->L, w->feeds, w->ldl, w->ldk, w->beams);
        } else {
            clear(w->L, w->ldk, w->whitened);
            clear(w->L, w->ldk, w->beams);
        }
    } else {
        memcpy(w->beams, w->whitened, bytes);
    }
    multiply_dagger(w->K, w->L, w->whitened, w->ldk, w->whitened, w->ldk, gram);
}

/* The same of channel f at the amplitudes set. */
static void whiten(problem *p, idx f, double *gram) {
    find_link(p, f);
    whiten_link(p, gram);
}

/* A gradient in channel f: of each n, Re sum_k conj(H_kn) [C V^H]_kl conj(Phi_nl) and, under
 * `radiated` power, less price * m_n |Phi_n V|^2. */
typedef struct {
    const double *beams;   /* V, L x ldk */
    const double *adjoint; /* C^H, K x ldk */
    double price;
} slope;

static void add_gradient(problem *p, idx f, const double *m, slope of, double *gradient) {
    work_d *w = &p->w;
    multiply(w->L, w->K, of.beams, w->ldk, of.adjoint, w->ldk, w->coupling);
    pull_back_d(w->K, w->L, w->ld, channel_of(p, f), w->ld, waves_of(p, f), 0, w->coupling, w->ldk,
                &w->ahead, w->omega, w->slope);
    EACH(i)
    store(gradient + i, load(gradient + i) + load(w->slope + i));
    if (!p->radiated)
        return;
    dagger(w->L, w->K, of.beams, w->ldk, w->beams_out, w->ldl);
    multiply(w->L, w->K, of.beams, w->ldk, w->beams_out, w->ldl, w->feeds);
    pull_back_feeds(p, f);
    EACH(i)
    store(gradient + i, load(gradient + i) - of.price * load(m + i) * load(w->slope + i));
}

/* to = from with its columns times the factors. */
static void scale_columns(idx rows, idx ld, const double *factors, const double *from, double *to) {
    for (idx r = 0; r < 2 * rows; r++)
        for (idx i = 0; i < ld; i += WD)
            store(to + r * ld + i, load(from + r * ld + i) * load(factors + i));
}

/* C^H of the beams received so, with w->links; returns -dR/d(noise). */
static double find_adjoint(problem *p, const double *received, double *adjoint) {
    work_d *w = &p->w;
    const double d_noise = rate_adjoint(w->K, w->ldk, received, w->weights, w->links, w->square[5]);
    dagger(w->K, w->K, w->square[5], w->ldk, adjoint, w->ldk);
    return d_noise;
}

/* With V = Y Psi the gradient of the rate is that of `slope`: each inner problem leaves C^H and the
 * price besides its rate.
 *
 * ZF with water-filled powers: rate and Psi; -inf where X is singular.  Where the minimum rates do
 * not fit (p->fits), the rate is -log2 of how often they exceed the power. */
static double zf_terms(problem *p, const double *gram, double *psi, double *adjoint,
                       double *price) {
    work_d *w = &p->w;
    const idx K = w->K, ldk = w->ldk;
    double *inverse = w->square[1], *cost = w->links.disturbance, *received = w->links.ratio;
    if (!invert(K, ldk, gram, inverse, w->square[2]))
        return -INFINITY;
    for (idx k = 0; k < K; k++) {
        cost[k] = RE(inverse, k, ldk)[k];
        received[k] = p->dual.target[k] * p->noise_power;
    }
    const double level = fill(K, cost, p->power, p->noise_power, w->weights, w->order, received);
    p->fits = level >= 0;
    for (idx k = 0; k < K; k++)
        w->links.signal[k] = sqrt(received[k]);
    scale_columns(K, ldk, w->links.signal, inverse, psi);
    const double divisor = p->fits ? level : p->power;
    *price = divisor > 0 ? 2 * INV_LN2 / divisor : 0;
    dagger(K, K, psi, ldk, adjoint, ldk);
    scale(K, ldk, *price, adjoint);
    for (idx k = 0; k < K; k++)
        received[k] /= p->noise_power;
    return p->fits ? rate_of(ldk, received, w->weights) : -log_2(-level);
}

/* The rate after sweeps of Psi in place; C^H and the price where not NULL. */
static double general_terms(problem *p, const double *gram, int64_t sweeps, double *psi,
                            double *adjoint, double *price) {
    work_d *w = &p->w;
    const idx K = w->K, ldk = w->ldk;
    const double ratio = p->noise_power / p->power;
    for (int64_t i = 0; i < sweeps; i++)
        wmmse_sweep(K, ldk, gram, psi, ratio, w->weights, w->links, w->sweep);
    double *received = w->square[4];
    const double spent = receive(K, ldk, gram, psi, received);
    if (!(spent > 0)) {
        if (adjoint) {
            clear(K, ldk, adjoint);
            *price = 0;
        }
        return 0 * spent;
    }
    find_links(K, ldk, received, ratio * spent, w->links);
    if (adjoint)
        *price = 2 * ratio * find_adjoint(p, received, adjoint);
    return rate_of(ldk, w->links.ratio, w->weights);
}

#define LEAST 1e-6  /* share of a user in the dual uplink, from which it can come back */
#define SETTLING 20 /* sweeps until the shares settle */

/* b = a^{-1} b for a real n x n matrix, spoiled, that needs no pivots: an M-matrix here. */
static void eliminate(idx n, idx ld, double *a, double *b) {
    for (idx i = 0; i < n; i++)
        for (idx r = i + 1; r < n; r++) {
            const double times = a[r * ld + i] / a[i * ld + i];
            for (idx c = i + 1; c < n; c++)
                a[r * ld + c] -= times * a[i * ld + c];
            b[r] -= times * b[i];
        }
    for (idx i = n; i-- > 0;) {
        for (idx c = i + 1; c < n; c++)
            b[i] -= a[i * ld + c] * b[c];
        b[i] /= a[i * ld + i];
    }
}

/* The dual uplink at p->dual.share: diag(half) T in square[1], and the vectors of p->dual up to
 * `least`. */
static void find_dual(problem *p, const double *gram) {
    work_d *w = &p->w;
    dual_link *d = &p->dual;
    const idx K = w->K, ldk = w->ldk;
    const double ridge = p->noise_power / p->power;
    double *inverse = w->square[1], *signals = w->square[4];
    double *system = w->system;
    for (idx k = 0; k < K; k++)
        d->half[k] = sqrt(d->share[k]);
    scale_columns(K, ldk, d->half, gram, signals);
    for (idx k = 0; k < K; k++)
        scale(1, ldk, d->half[k], RE(signals, k, ldk));
    memcpy(inverse, signals, (size_t)p->psi_size * 8);
    for (idx k = 0; k < K; k++)
        RE(inverse, k, ldk)[k] += ridge;
    invert_positive(K, ldk, inverse, w->square[5]);
    for (idx k = 0; k < K; k++)
        d->diagonal[k] = RE(inverse, k, ldk)[k];
    for (idx k = 0; k < K; k++) {
        const double *re = RE(inverse, k, ldk), *im = IM(inverse, k, ldk);
        for (idx j = 0; j < K; j++)
            system[k * ldk + j] = -ridge * (re[j] * re[j] + im[j] * im[j]) / d->diagonal[j];
        const double part = inner_product(1, ldk, RE(signals, k, ldk), re); /* SINR / (1 + SINR) */
        system[k * ldk + k] = fmax(part, 1e-30);
        d->ratio[k] = part / (ridge * d->diagonal[k]);
        d->beta[k] = d->share[k];
        d->least[k] = d->target[k] > 0 ? d->target[k] * d->share[k] / d->ratio[k] : 0;
    }
    eliminate(K, ldk, system, d->beta);
    for (idx k = 0; k < K; k++)
        scale(1, ldk, d->half[k], RE(inverse, k, ldk));
}

/* As zf_terms, for general V, after sweeps of the fixed point over p->dual.share (reference.py);
 * Psi, C^H and the price where not NULL. */
static double floored_terms(problem *p, const double *gram, int64_t sweeps, double *psi,
                            double *adjoint, double *price) {
    work_d *w = &p->w;
    dual_link *d = &p->dual;
    const idx K = w->K, ldk = w->ldk;
    double level = 0;
    memcpy(d->filled, d->share, (size_t)ldk * 8);
    for (int64_t i = 0; i < (sweeps > 1 ? sweeps : 1) && level > -INFINITY; i++) {
        double sum = 0;
        for (idx k = 0; k < K; k++)
            sum += d->share[k] = fmax(d->filled[k], LEAST);
        for (idx k = 0; k < K; k++)
            d->share[k] /= sum;
        find_dual(p, gram);
        for (idx k = 0; k < K; k++) {
            d->filled[k] = d->least[k];
            d->pull[k] = w->weights[k] * d->share[k] / d->beta[k];
        }
        level = fill(K, d->ones, 1, 0, d->pull, w->order, d->filled);
    }
    double rate = rate_of(ldk, d->ratio, w->weights), unit = 0;
    p->fits = level >= 0;
    for (idx k = 0; k < K; k++)
        unit += d->beta[k] * d->ratio[k] / (1 + d->ratio[k]);
    for (idx k = 0; k < K; k++) {
        d->pull[k] = w->weights[k];
        if (level > 0) { /* users at their minimum pull with their multipliers */
            d->pull[k] = d->beta[k] * d->filled[k] / (d->share[k] * level);
            rate += (d->pull[k] - w->weights[k]) * (log1p(d->ratio[k]) * INV_LN2 - d->min_rate[k]);
        } else if (level < 0) {
            d->pull[k] = d->beta[k] / unit;
        }
    }
    if (psi) {
        for (idx k = 0; k < K; k++)
            d->pull[k] = sqrt(2 * INV_LN2 * d->pull[k] / d->diagonal[k]);
        scale_columns(K, ldk, d->pull, w->square[1], psi);
        dagger(K, K, psi, ldk, adjoint, ldk);
        *price = 1;
    }
    return level < 0 ? -log_2(-level) : rate;
}

/* Psi of p->dual.share with powers that meet the minimum rates exactly; the rate, or where there
 * are none (p->fits) log2 of the worst SINR over target (reference.py). */
static double restore(problem *p, const double *gram, double *psi) {
    work_d *w = &p->w;
    dual_link *d = &p->dual;
    const idx K = w->K, ldk = w->ldk;
    double *received = w->square[4], *system = w->system, *spoiled = w->square[5];
    find_dual(p, gram);
    for (idx k = 0; k < K; k++)
        d->pull[k] = sqrt(d->beta[k] / d->diagonal[k]);
    scale_columns(K, ldk, d->pull, w->square[1], psi);
    const double spent = receive(K, ldk, gram, psi, received);
    p->fits = 0;
    if (!(spent > 0))
        return -INFINITY;
    scale(K, ldk, sqrt(p->power / spent), psi);
    scale(K, ldk, sqrt(p->power / spent), received);
    double least = INFINITY, needed = 0, worst = 0, mixture = 0;
    for (idx k = 0; k < K; k++) {
        const double *re = RE(received, k, ldk), *im = IM(received, k, ldk);
        for (idx j = 0; j < K; j++) {
            const double gain = re[j] * re[j] + im[j] * im[j];
            system[k * ldk + j] = j == k ? fmax(gain, 1e-300) : -d->target[k] * gain;
        }
        d->least[k] = d->target[k] * p->noise_power;
        if (d->target[k] > 0)
            worst = fmin(worst, log_2(d->ratio[k] / d->target[k]));
    }
    memcpy(spoiled, system, (size_t)(K * ldk) * 8);
    eliminate(K, ldk, spoiled, d->least);
    for (idx k = 0; k < K; k++) {
        double cost = 0;
        for (idx i = 0; i < 2 * K; i++)
            cost += psi[i * ldk + k] * received[i * ldk + k];
        needed += d->least[k] * cost;
        least = fmin(least, d->least[k]);
    }
    if (!(least >= 0 && needed <= p->power))
        return worst;
    for (idx k = 0; k < K; k++) {
        double margin = -d->target[k] * p->noise_power, better = margin;
        for (idx j = 0; j < K; j++) {
            margin += system[k * ldk + j];
            better += system[k * ldk + j] * d->least[j] * (p->power / needed);
        }
        if (margin < 0)
            mixture = fmax(mixture, margin / (margin - better));
    }
    for (idx k = 0; k < K; k++)
        d->pull[k] = sqrt((1 - mixture) + mixture * d->least[k] * (p->power / needed));
    scale_columns(K, ldk, d->pull, psi, psi);
    scale_columns(K, ldk, d->pull, received, received);
    find_links(K, ldk, received, p->noise_power, w->links);
    p->fits = 1;
    return rate_of(ldk, w->links.ratio, w->weights);
}

/* Adds a channel's rate to the total over channels that all meet their minimum rates, or over
 * those that do not, as long as there are any; returns whether the rate counts. */
static int add_rate(const problem *p, double rate, int *fit, double *total) {
    if (p->fits && !*fit)
        return 0;
    if (*fit && !p->fits)
        *total = *fit = 0;
    *total += rate;
    return 1;
}

/* The start of the general stage: the better after two sweeps of Psi as given and matched beams,
 * in place. */
static void enter(problem *p, const double *gram, double *psi) {
    work_d *w = &p->w;
    const size_t bytes = (size_t)p->psi_size * 8;
    double *candidate = w->square[2], *best = w->square[3], best_rate = -1;
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            memcpy(candidate, psi, bytes);
        else
            matched(w->K, w->ldk, gram, candidate);
        const double rate = general_terms(p, gram, 2, candidate, NULL, NULL);
        if (rate > best_rate) {
            best_rate = rate;
            memcpy(best, candidate, bytes);
        }
    }
    if (best_rate >= 0)
        memcpy(psi, best, bytes);
}

/* The same with minimum rates: settled shares, from equal ones, in Psi. */
static void enter_floored(problem *p, const double *gram, double *psi) {
    dual_link *d = &p->dual;
    for (idx k = 0; k < p->w.K; k++)
        d->share[k] = 1 / (double)p->w.K;
    floored_terms(p, gram, SETTLING, NULL, NULL, NULL);
    memcpy(psi, d->share, (size_t)p->w.ldk * 8);
}

/* Rate over all channels at m, its gradient, and Psi in place, by zero forcing (stage 0) or, for
 * general V (stage 1), warm-started WMMSE sweeps.  With minimum rates stage 1 has the shares of
 * the dual uplink in the first row of each Psi.  entering: from what is the better start of Psi. */
static double evaluate(problem *p, int stage, int entering, const double *m, double *psi,
                       double *gradient) {
    work_d *w = &p->w;
    double *gram = w->square[0], *adjoint = w->square[2], total = 0, price = 0;
    int fit = 1;
    memset(gradient, 0, (size_t)p->n * 8);
    set_amplitudes(p, m);
    for (idx f = 0; f < p->F; f++) {
        whiten(p, f, gram);
        double *psi_f = psi + f * p->psi_size, *beams = psi_f, rate;
        const int fitted = fit;
        if (entering)
            (p->floored ? enter_floored : enter)(p, gram, psi_f);
        p->fits = 1;
        if (stage == 0) {
            rate = zf_terms(p, gram, psi_f, adjoint, &price);
        } else if (p->floored) {
            SWAP(p->dual.share, psi_f);
            beams = w->square[3];
            rate = floored_terms(p, gram, p->sweeps, beams, adjoint, &price);
            SWAP(p->dual.share, psi_f);
        } else {
            rate = general_terms(p, gram, p->sweeps, psi_f, adjoint, &price);
        }
        if (!isfinite(rate))
            return rate;
        if (!add_rate(p, rate, &fit, &total))
            continue;
        if (fit != fitted)
            memset(gradient, 0, (size_t)p->n * 8);
        multiply(w->L, w->K, w->beams, w->ldk, beams, w->ldk, w->digital);
        add_gradient(p, f, m, (slope){w->digital, adjoint, price}, gradient);
    }
    return total;
}

/* The move from p->m to m + step * along as far as the box allows, and its slope. */
static double aim(const problem *p, double step, const double *along, double upper,
                  double *direction) {
    VD slope = {0};
    const VD zero = {0}, top = zero + upper;
    EACH(i) {
        const VD m = load(p->m + i), to = m + step * load(along + i);
        const VD move = pick(to < zero, zero, pick(to > top, top, to)) - m;
        store(direction + i, move);
        slope += move * load(p->gradient + i);
    }
    return add_up(slope);
}

/* The gradient times the inverse curvature of the last moves (L-BFGS) into p->bent; latest is
 * the row of the rings filled last.  Elements at 0 that the gradient pushes against have 0. */
static void bend(problem *p, int64_t latest, double step) {
    double bent[MEMORY], share[MEMORY], *to = p->bent;
    const VD zero = {0};
#define FREE(i, x) pick((load(p->m + i) > zero) | (load(p->gradient + i) > zero), x, zero)
    EACH(i) store(to + i, FREE(i, load(p->gradient + i)));
    for (int i = 0; i < MEMORY; i++) {
        const int64_t row = (latest + MEMORY - i) % MEMORY;
        const double *move = p->moves + row * p->n, *turn = p->bends + row * p->n;
        VD product = {0}, along = {0}, size = {0};
        EACH(j) {
            const VD t = FREE(j, load(turn + j));
            product += load(move + j) * t;
            along += load(move + j) * load(to + j);
            size += t * t;
        }
        bent[row] = add_up(product);
        if (!(bent[row] > 0))
            continue;
        if (i == 0)
            step = bent[row] / add_up(size);
        share[row] = add_up(along) / bent[row];
        EACH(j) store(to + j, load(to + j) - share[row] * FREE(j, load(turn + j)));
    }
    EACH(i) store(to + i, step * load(to + i));
    for (int i = 1; i <= MEMORY; i++) {
        const int64_t row = (latest + i) % MEMORY;
        if (!(bent[row] > 0))
            continue;
        const double *move = p->moves + row * p->n, *turn = p->bends + row * p->n;
        const double back = share[row] - dot(p, turn, to) / bent[row];
        EACH(j) store(to + j, load(to + j) + back * FREE(j, load(move + j)));
    }
#undef FREE
}

/* Nonmonotone projected ascent from p->m and p->psi, spectral or, in the general stage under
 * `radiated` power, quasi-Newton; the best m, Psi and rate are left in p->best, p->best_psi and
 * *best_rate.  Returns the iterations made. */
static int64_t ascend(problem *p, int stage, int64_t iterations, double tolerance,
                         double *history, double *best_rate, uint8_t *converged) {
    const size_t bytes = (size_t)p->n * 8, psi_bytes = (size_t)(p->F * p->psi_size) * 8;
    const double upper = p->radiated ? HEADROOM : 1;
    const int bending = p->radiated && stage;
    double recent[RECENT], largest = 0;
    *converged = 0;
    memcpy(p->best, p->m, bytes);
    double rate = evaluate(p, stage, stage == 1, p->m, p->psi, p->gradient);
    memcpy(p->best_psi, p->psi, psi_bytes);
    *best_rate = rate;
    if (!isfinite(rate))
        return 0;
    history[0] = recent[0] = rate;
    for (int i = 1; i < RECENT; i++)
        recent[i] = INFINITY;
    memset(p->moves, 0, MEMORY * bytes);
    memset(p->bends, 0, MEMORY * bytes);
    for (idx n = 0; n < p->n; n++)
        largest = fmax(largest, fabs(p->gradient[n]));
    double step = largest > 0 ? FIRST_MOVE / largest : 1;
    for (int64_t i = 0; i < iterations; i++) {
        double slope = aim(p, step, p->gradient, upper, p->direction);
        if (!(slope > tolerance)) {
            *converged = 1;
            return i;
        }
        if (bending && i > 0) {
            bend(p, (i - 1) % MEMORY, step);
            const double bent_slope = aim(p, 1, p->bent, upper, p->bent);
            if (bent_slope > tolerance) {
                SWAP(p->direction, p->bent);
                slope = bent_slope;
            }
        }
        double worst = INFINITY, length = 1, trial_rate;
        for (int j = 0; j < RECENT; j++)
            worst = fmin(worst, recent[j]);
        for (;; length *= 0.5) {
            if (length < 1e-6) {
                *converged = 1;
                return i;
            }
            EACH(i)
            store(p->trial + i, load(p->m + i) + length * load(p->direction + i));
            memcpy(p->trial_psi, p->psi, psi_bytes);
            trial_rate = evaluate(p, stage, 0, p->trial, p->trial_psi, p->trial_gradient);
            if (trial_rate >= worst + 1e-4 * length * slope)
                break;
        }
        double *move = p->moves + i % MEMORY * p->n, *turn = p->bends + i % MEMORY * p->n;
        EACH(j) {
            store(move + j, load(p->trial + j) - load(p->m + j));
            store(turn + j, load(p->gradient + j) - load(p->trial_gradient + j));
        }
        const double curvature = dot(p, move, turn);
        step = curvature > 0 ? fmin(fmax(dot(p, move, move) / curvature, 1e-8), 1e4) : 100;
        SWAP(p->m, p->trial);
        SWAP(p->psi, p->trial_psi);
        SWAP(p->gradient, p->trial_gradient);
        rate = recent[(i + 1) % RECENT] = history[i + 1] = trial_rate;
        if (rate > *best_rate) {
            *best_rate = rate;
            memcpy(p->best, p->m, bytes);
            memcpy(p->best_psi, p->psi, psi_bytes);
        }
    }
    return iterations;
}

/* From the shares in p->best_psi to Psi that meets the minimum rates; the rate over all channels. */
static double leave_floored(problem *p) {
    work_d *w = &p->w;
    double total = 0;
    int fit = 1;
    set_amplitudes(p, p->best);
    for (idx f = 0; f < p->F; f++) {
        double *psi = p->best_psi + f * p->psi_size;
        whiten(p, f, w->square[0]);
        memcpy(p->dual.share, psi, (size_t)w->ldk * 8);
        floored_terms(p, w->square[0], SETTLING, NULL, NULL, NULL);
        const double rate = restore(p, w->square[0], psi);
        add_rate(p, rate, &fit, &total);
    }
    return total;
}

/* V = Y Psi scaled to the power, in channel f, into p->beams; Y and X as whiten left them. */
static void find_beams(problem *p, idx f, const double *gram, const double *psi) {
    work_d *w = &p->w;
    double *beams = p->beams + f * 2 * w->L * w->ldk, *received = w->square[5];
    const double spent = receive(w->K, w->ldk, gram, psi, received);
    multiply(w->L, w->K, w->beams, w->ldk, psi, w->ldk, beams);
    if (spent > 0)
        scale(w->L, w->ldk, sqrt(p->power / spent), beams);
}

static void put(problem *p, idx b, const double *m, const double *beams, double rate,
                int64_t iterations, uint8_t converged, hf_solved to) {
    const work_d *w = &p->w;
    write_reals(p->single, w->N, m, to.amplitudes, b * w->N);
    const idx rows = p->F * w->L;
    write_rows(p->single, rows, w->K, w->ldk, beams, to.digital, 2 * b * rows * w->K);
    to.sum_rate[b] = rate;
    to.iterations[b] = iterations;
    to.converged[b] = converged;
}

static void put_nan(problem *p, idx b, hf_solved to) {
    const idx count = 2 * p->F * p->w.L * p->w.K;
    write_nan(p->single, p->w.N, to.amplitudes, b * p->w.N);
    write_nan(p->single, count, to.digital, b * count);
    to.sum_rate[b] = NAN;
    to.iterations[b] = 0;
    to.converged[b] = 0;
}

static void load_floors(problem *p, const double *min_rate) {
    p->floored = 0;
    for (idx k = 0; k < p->w.K; k++) {
        p->dual.min_rate[k] = min_rate[k];
        p->dual.target[k] = expm1(min_rate[k] / INV_LN2);
        p->floored |= min_rate[k] > 0;
    }
}

/* The general stage from p->best and p->best_psi at this noise, from the better of two beams or,
 * with minimum rates, from settled shares. */
static int64_t ascend_general(problem *p, double noise_power, int64_t iterations, double tolerance,
                              double *history, double *rate, uint8_t *converged) {
    const double given = p->noise_power;
    p->noise_power = noise_power;
    memcpy(p->m, p->best, (size_t)p->n * 8);
    memcpy(p->psi, p->best_psi, (size_t)(p->F * p->psi_size) * 8);
    const int64_t made = ascend(p, 1, iterations, tolerance, history, rate, converged);
    p->noise_power = given;
    return made;
}

/* (H H^H)^{-1} of every channel into p->metric. */
static void find_metric(problem *p, const char *channel) {
    work_d *w = &p->w;
    for (idx f = 0; f < p->F; f++) {
        double *metric = p->metric + f * p->psi_size;
        read_conjugates(p->single, w->K, w->N, w->ld, channel, w->conjugates);
        channel += 2 * w->K * w->N * (p->single ? 4 : 8);
        find_gram(w, metric);
        for (idx k = 0; k < w->K; k++) {
            double *gain = RE(metric, k, w->ldk) + k;
            *gain = *gain > 0 ? *gain * (1 + ALIKE) : 1;
        }
        invert_positive(w->K, w->ldk, metric, w->square[5]);
    }
}

/* Moves p->m halfway to amplitudes whose beams span what the users receive from: least squares of
 * H^H - diag(m) Phi C in the metric, over C and m in turns.  Stays where nobody receives. */
static void fit(problem *p) {
    work_d *w = &p->w;
    const idx K = w->K, L = w->L, ldk = w->ldk;
    const int radiated = p->radiated;
    double *share = p->gradient, *size = p->trial_gradient, top = 1;
    memcpy(p->trial, p->m, (size_t)p->n * 8);
    p->radiated = 1; /* C is Y under that power */
    for (int i = 0; i < FITTINGS && top > 0; i++) {
        memset(share, 0, (size_t)p->n * 8);
        memset(size, 0, (size_t)p->n * 8);
        set_amplitudes(p, p->trial);
        for (idx f = 0; f < p->F; f++) {
            whiten(p, f, w->square[0]);
            multiply(L, K, w->beams, ldk, p->metric + f * p->psi_size, ldk, w->digital);
            pull_back_d(K, L, w->ld, channel_of(p, f), w->ld, waves_of(p, f), 0, w->digital, ldk,
                        &w->ahead, w->omega, w->slope);
            EACH(n) store(share + n, load(share + n) + load(w->slope + n));
            dagger(L, K, w->beams, ldk, w->beams_out, w->ldl);
            multiply(L, K, w->digital, ldk, w->beams_out, w->ldl, w->feeds);
            pull_back_feeds(p, f);
            EACH(n) store(size + n, load(size + n) + load(w->slope + n));
        }
        top = 0;
        for (idx n = 0; n < w->N; n++) {
            const double best = share[n] / size[n];
            p->trial[n] = best > 0 && best < INFINITY ? best : 0;
            top = fmax(top, p->trial[n]);
        }
        for (idx n = 0; n < w->N && top > 0; n++)
            p->trial[n] /= top;
    }
    p->radiated = radiated;
    for (idx n = 0; n < w->N && top > 0; n++)
        p->m[n] = 0.5 * p->m[n] + 0.5 * p->trial[n];
}

/* p->m dimmed by a factor in [DIMMEST, 1], another one for each element. */
static void dim(problem *p, int64_t *random) {
    for (idx n = 0; n < p->w.N; n++) {
        *random = *random * 16807 % 2147483647;
        p->m[n] *= 1 - (1 - DIMMEST) / 2147483647 * (double)*random;
    }
}

static int variable_projection(hf_shape s, hf_problem given, hf_operand min_rate,
                               int64_t zf_iterations, int64_t iterations, int64_t candidates,
                               int64_t sweeps, double tolerance, hf_solved to) {
    problem at, *p = &at;
    const int status = open_problem(p, s, given.radiated, sweeps);
    if (status)
        return status;
    work_d *w = &p->w;
    const size_t bytes = (size_t)p->n * 8, psi_bytes = (size_t)(p->F * p->psi_size) * 8;
    const int64_t forced = zf_iterations + 1, general = iterations + 1;
    double *tried = malloc((size_t)(forced + general) * 8);
    if (!tried) {
        close_problem(p);
        return HF_NO_MEMORY;
    }
    for (idx b = 0; b < s.batch; b++) {
        double *history = to.history + b * (forced + general);
        for (int64_t i = 0; i < forced + general; i++)
            history[i] = NAN;
        if (!load_problem(p, given, b)) {
            put_nan(p, b, to);
            continue;
        }
        load_floors(p, item_d(min_rate, b));
        memcpy(p->start, p->m, bytes);
        if (zf_iterations)
            find_metric(p, item_d(given.channel, b));
        const int64_t prelude = p->floored || !zf_iterations ? 0 : iterations / PRELUDE;
        double rate = -INFINITY, zf_rate = -INFINITY;
        int64_t made = 0, random = 1;
        uint8_t converged = 0;
        for (int64_t c = 0; c < (prelude && candidates > 1 ? candidates : 1); c++) {
            double forced_rate = -INFINITY;
            int64_t steps = 0;
            memcpy(p->m, p->start, bytes);
            if (c > 0)
                dim(p, &random);
            if (zf_iterations)
                fit(p);
            memcpy(p->best, p->m, bytes);
            memset(p->psi, 0, psi_bytes);
            memset(p->best_psi, 0, psi_bytes);
            for (int64_t i = 0; i < forced; i++)
                tried[i] = NAN;
            if (w->K <= w->L)
                steps = ascend(p, 0, zf_iterations, tolerance, tried, &forced_rate, &converged);
            double reached = forced_rate;
            memcpy(p->zf, p->best, bytes);
            memcpy(p->zf_psi, p->best_psi, psi_bytes);
            if (prelude)
                steps += ascend_general(p, PRELUDE_NOISE(p->radiated) * p->noise_power, prelude,
                                        tolerance, tried + forced, &reached, &converged);
            if (c == 0 || reached > rate) {
                rate = reached;
                zf_rate = forced_rate;
                made = steps;
                memcpy(history, tried, (size_t)forced * 8);
                SWAP(p->kept, p->best);
                SWAP(p->kept_psi, p->best_psi);
                SWAP(p->kept_zf, p->zf);
                SWAP(p->kept_zf_psi, p->zf_psi);
            }
        }
        SWAP(p->kept, p->best);
        SWAP(p->kept_psi, p->best_psi);
        if (iterations > 0 || zf_rate == -INFINITY) {
            made += ascend_general(p, p->noise_power, iterations - prelude, tolerance,
                                   history + forced, &rate, &converged);
            if (p->floored)
                rate = leave_floored(p);
            if (zf_rate > rate) {
                rate = zf_rate;
                SWAP(p->best, p->kept_zf);
                SWAP(p->best_psi, p->kept_zf_psi);
            }
        }
        double top = 1;
        for (idx n = 0; n < p->n; n++)
            top = fmax(top, p->best[n]);
        for (idx n = 0; n < p->n; n++)
            p->best[n] /= top;
        set_amplitudes(p, p->best);
        for (idx f = 0; f < p->F; f++) {
            whiten(p, f, w->square[0]);
            find_beams(p, f, w->square[0], p->best_psi + f * p->psi_size);
        }
        put(p, b, p->best, p->beams, rate, made, converged, to);
    }
    free(tried);
    close_problem(p);
    return HF_OK;
}

/* Equal-SINR zero forcing at the amplitudes set, in every channel, into p->beams. */
static void force(problem *p) {
    work_d *w = &p->w;
    for (idx f = 0; f < p->F; f++) {
        whiten(p, f, w->square[0]);
        invert(w->K, w->ldk, w->square[0], w->square[1], w->square[2]);
        find_beams(p, f, w->square[0], w->square[1]);
    }
}

/* Rate at fixed V of this power, scaled to what it should be, from G^H of channel f; its gradient
 * in m is added. */
static double fixed_terms(problem *p, idx f, const double *m, const double *beams, double spent,
                          double *gradient) {
    work_d *w = &p->w;
    double *received = w->square[0], *adjoint = w->square[1];
    const double ratio = p->noise_power / p->power;
    multiply_dagger(w->K, w->L, w->effective, w->ldk, beams, w->ldk, received);
    find_links(w->K, w->ldk, received, ratio * spent, w->links);
    const double price = 2 * ratio * find_adjoint(p, received, adjoint);
    add_gradient(p, f, m, (slope){beams, adjoint, price}, gradient);
    return rate_of(w->ldk, w->links.ratio, w->weights);
}

/* Rate at fixed V, scaled to the power, over all channels, and its gradient in m. */
static double evaluate_fixed(problem *p, const double *m, double *gradient) {
    double total = 0;
    memset(gradient, 0, (size_t)p->n * 8);
    set_amplitudes(p, m);
    for (idx f = 0; f < p->F; f++) {
        const double *beams = p->beams + f * 2 * p->w.L * p->w.ldk;
        find_link(p, f);
        const double spent = power_of(p, beams);
        total += spent > 0 ? fixed_terms(p, f, m, beams, spent, gradient) : 0 * spent;
    }
    return total;
}

/* Beams V at the power after some sweeps, the rate there and its gradient in m at these beams:
 * by the envelope theorem that of the best rate at m where V is best.  Beams that no sweep
 * improves, since they reach nobody, stay. */
static int wmmse_gradient(hf_shape s, hf_problem given, hf_operand digital, int64_t sweeps,
                          double *sum_rate, void *to_digital, void *d_amplitudes) {
    problem at, *p = &at;
    const int status = open_problem(p, s, given.radiated, sweeps);
    if (status)
        return status;
    work_d *w = &p->w;
    const idx K = w->K, L = w->L, ldk = w->ldk;
    double *gram = w->square[0], *received = w->square[1];
    for (idx b = 0; b < s.batch; b++) {
        const int finite = load_problem(p, given, b);
        const void *beams = item_d(digital, b);
        if (s.single)
            widen_f(L, K, ldk, beams, p->beams);
        else
            widen_d(L, K, ldk, beams, p->beams);
        if (!finite || !isfinite(norm2(L, ldk, p->beams))) {
            sum_rate[b] = NAN;
            write_nan(s.single, 2 * L * K, to_digital, 2 * b * L * K);
            write_nan(s.single, w->N, d_amplitudes, b * w->N);
            continue;
        }
        set_amplitudes(p, p->m);
        find_link(p, 0);
        const double spent = power_of(p, p->beams);
        if (spent > 0)
            scale(L, ldk, sqrt(p->power / spent), p->beams);
        if (sweeps > 0) {
            multiply_dagger(K, L, w->effective, ldk, p->beams, ldk, received);
            whiten_link(p, gram);
            clear(K, ldk, p->psi);
            wmmse_update(K, ldk, gram, p->psi, received, p->power, p->noise_power / p->power,
                         w->weights, w->links, w->sweep);
            for (int64_t i = 1; i < sweeps; i++)
                wmmse_sweep(K, ldk, gram, p->psi, p->noise_power / p->power, w->weights, w->links,
                            w->sweep);
            if (norm2(K, ldk, p->psi) > 0)
                find_beams(p, 0, gram, p->psi);
        }
        memset(p->gradient, 0, (size_t)p->n * 8);
        sum_rate[b] = fixed_terms(p, 0, p->m, p->beams, p->power, p->gradient);
        write_rows(s.single, L, K, ldk, p->beams, to_digital, 2 * b * L * K);
        write_reals(s.single, w->N, p->gradient, d_amplitudes, b * w->N);
    }
    close_problem(p);
    return HF_OK;
}

/* One step from p->m at fixed V that raises its rate (Armijo, halving), from twice the last
 * length; all stay where no step does.  Returns the rate. */
static double backtrack(problem *p, double rate, double *length) {
    for (double tried = fmin(2 * *length, 1e4); tried > 1e-12; tried *= 0.5) {
        for (idx n = 0; n < p->n; n++) {
            const double moved = p->m[n] + tried * p->gradient[n];
            p->trial[n] = moved > 1 ? 1 : moved < 0 ? 0 : moved;
            p->direction[n] = p->trial[n] - p->m[n];
        }
        const double trial_rate = evaluate_fixed(p, p->trial, p->trial_gradient);
        if (trial_rate >= rate + 1e-4 * dot(p, p->gradient, p->direction)) {
            SWAP(p->m, p->trial);
            SWAP(p->gradient, p->trial_gradient);
            *length = tried;
            return trial_rate;
        }
    }
    return rate;
}

static int alternating(hf_shape s, hf_problem given, int backtracking, double step, int64_t inner,
                       double tolerance, int64_t iterations, hf_solved to) {
    problem at, *p = &at;
    const int status = open_problem(p, s, given.radiated, 0);
    if (status)
        return status;
    work_d *w = &p->w;
    const size_t bytes = (size_t)p->n * 8;
    const size_t beam_bytes = (size_t)(p->F * 2 * w->L * w->ldk) * 8;
    for (idx b = 0; b < s.batch; b++) {
        double *history = to.history + b * (iterations + 1);
        for (int64_t i = 0; i < iterations + 1; i++)
            history[i] = NAN;
        if (!load_problem(p, given, b)) {
            put_nan(p, b, to);
            continue;
        }
        set_amplitudes(p, p->m);
        force(p);
        double rate = evaluate_fixed(p, p->m, p->gradient), best_rate = rate, length = step;
        history[0] = rate;
        memcpy(p->best, p->m, bytes);
        memcpy(p->best_beams, p->beams, beam_bytes);
        int64_t made = 0;
        uint8_t converged = 0;
        while (made < iterations && !converged) {
            const double served = rate;
            for (int64_t steps = 1; made < iterations; steps++) {
                const double previous = rate;
                if (backtracking)
                    rate = backtrack(p, rate, &length);
                for (idx n = 0; n < p->n && !backtracking; n++) {
                    const double moved = p->m[n] + step * p->gradient[n];
                    p->m[n] = moved > 1 ? 1 : moved < 0 ? 0 : moved;
                }
                made++;
                if (steps == inner)
                    break;
                if (!backtracking)
                    rate = evaluate_fixed(p, p->m, p->gradient);
                if (inner == 0 && (fabs(rate - previous) < tolerance || steps == MOST_STEPS))
                    break;
            }
            set_amplitudes(p, p->m);
            force(p);
            rate = evaluate_fixed(p, p->m, p->gradient);
            history[made] = rate;
            if (rate > best_rate) {
                best_rate = rate;
                memcpy(p->best, p->m, bytes);
                memcpy(p->best_beams, p->beams, beam_bytes);
            }
            converged = fabs(rate - served) < tolerance;
        }
        put(p, b, p->best, p->best_beams, best_rate, made, converged, to);
    }
    close_problem(p);
    return HF_OK;
}

/* What one item's coordinate descent holds besides, planar. */
typedef struct {
    double *columns;           /* F x n rows of ldk: H_kn, lanes over users */
    double *rows;              /* F x K rows of n: H_kn, lanes over elements, as below */
    double *phase;             /* phases x L rows of n: conj Phi_nl */
    double *fields;            /* F x K rows of n: conj (Phi V)_nj */
    double *weighted;          /* K rows of WD: a_k H_kn of one block */
    double *received;          /* F x K rows of ldk: A^T */
    double *curvature;         /* F x ldk: a */
    double *target;            /* F x 2 ldk: c */
    double *spent, *ridge;     /* F each */
    double *block;
} descent;

static size_t lay_out_descent(const problem *p, descent *d, char *memory) {
    arena_d a = {memory, 0};
    const work_d *w = &p->w;
    d->block = take_d(&a, 0, 0);
    d->columns = take_d(&a, p->F * p->n * 2 * w->ldk, 8);
    d->rows = take_d(&a, p->F * w->K * 2 * p->n, 8);
    d->phase = take_d(&a, p->phases * w->L * 2 * p->n, 8);
    d->fields = take_d(&a, p->F * w->K * 2 * p->n, 8);
    d->weighted = take_d(&a, w->K * 2 * WD, 8);
    d->received = take_d(&a, p->F * p->psi_size, 8);
    d->curvature = take_d(&a, p->F * w->ldk, 8);
    d->target = take_d(&a, p->F * 2 * w->ldk, 8);
    d->spent = take_d(&a, p->F, 8);
    d->ridge = take_d(&a, p->F, 8);
    return a.used;
}

/* Rows of n interleaved complex numbers to planar ones. */
static void part(const problem *p, idx rows, const double *from, double *to) {
    for (idx r = 0; r < rows; r++)
        for (idx n = 0; n < p->n; n++) {
            RE(to, r, p->n)[n] = from[r * p->w.ld + 2 * n];
            IM(to, r, p->n)[n] = from[r * p->w.ld + 2 * n + 1];
        }
}

static void load_descent(const problem *p, descent *d) {
    const work_d *w = &p->w;
    part(p, p->F * w->K, w->channel, d->rows);
    clear(p->F * p->n, w->ldk, d->columns);
    for (idx f = 0; f < p->F; f++)
        for (idx k = 0; k < w->K; k++)
            for (idx n = 0; n < p->n; n++) {
                RE(d->columns, f * p->n + n, w->ldk)[k] = RE(d->rows, f * w->K + k, p->n)[n];
                IM(d->columns, f * p->n + n, w->ldk)[k] = IM(d->rows, f * w->K + k, p->n)[n];
            }
    for (idx g = 0; g < p->phases * w->L; g++) /* the first wave of a feed is conj Phi */
        part(p, 1, w->waves + 2 * g * stride_d(w->ld), d->phase + g * 2 * p->n);
}

/* Adds channel f's part of the slopes and curvatures of WD elements from `at` on, and of what a
 * move of each does to the slopes of all. */
static void add_quadratic(const problem *p, descent *d, idx f, idx at, VD *slope, VD *bend,
                          VD *effect) {
    const idx K = p->w.K, ldk = p->w.ldk, n = p->n;
    const double *h = d->rows + f * K * 2 * n + at, *z = d->fields + f * K * 2 * n + at;
    const double *received = d->received + f * p->psi_size;
    const double *a = d->curvature + f * ldk, *c = d->target + 2 * f * ldk;
    VD size = {0}, gain = {0}, pull = {0};
    for (idx k = 0; k < K; k++) {
        VD re = {0}, im = {0}; /* sum_j A_kj conj(z_j) */
        for (idx j = 0; j < K; j++) {
            const VD z_re = load(RE(z, j, n)), z_im = load(IM(z, j, n));
            const double x = RE(received, j, ldk)[k], y = IM(received, j, ldk)[k];
            re += x * z_re;
            im += x * z_im;
            re -= y * z_im;
            im += y * z_re;
        }
        const VD h_re = load(RE(h, k, n)), h_im = load(IM(h, k, n));
        const VD z_re = load(RE(z, k, n)), z_im = load(IM(z, k, n));
        const VD w_re = a[k] * h_re, w_im = a[k] * h_im;
        store(RE(d->weighted, k, WD), w_re);
        store(IM(d->weighted, k, WD), w_im);
        pull += w_re * re + w_im * im;
        pull -= c[k] * (h_re * z_re + h_im * z_im) - c[ldk + k] * (h_im * z_re - h_re * z_im);
        gain += w_re * h_re + w_im * h_im;
        size += z_re * z_re + z_im * z_im;
    }
    *slope += pull + d->ridge[f] * size * load(p->m + at);
    *bend += size * (gain + d->ridge[f]);
    for (int i = 0; i < WD; i += 2) {
        VD h_re[2] = {{0}}, h_im[2] = {{0}}, z_re[2] = {{0}}, z_im[2] = {{0}};
        for (idx k = 0; k < K; k++) {
            const VD w_re = load(RE(d->weighted, k, WD)), w_im = load(IM(d->weighted, k, WD));
            const VD x = load(RE(z, k, n)), y = load(IM(z, k, n));
            for (int r = 0; r < 2; r++) {
                const double g_re = RE(h, k, n)[i + r], g_im = IM(h, k, n)[i + r];
                const double x_i = RE(z, k, n)[i + r], y_i = IM(z, k, n)[i + r];
                h_re[r] += g_re * w_re;
                h_im[r] += g_im * w_re;
                z_re[r] += x_i * x;
                z_im[r] += x_i * y;
                h_re[r] += g_im * w_im;
                h_im[r] -= g_re * w_im;
                z_re[r] += y_i * y;
                z_im[r] -= y_i * x;
            }
        }
        for (int r = 0; r < 2; r++)
            effect[i + r] += h_re[r] * z_re[r] - h_im[r] * z_im[r];
    }
}

/* Adds what `count` elements of the block at `at` have moved to A^T, on lanes from `from` on. */
static void add_moves(const problem *p, descent *d, idx f, idx at, idx from, int count,
                      const int *moved, const double *change) {
    const idx ldk = p->w.ldk;
    const double *columns = d->columns + (f * p->n + at) * 2 * ldk + from;
    for (idx j = 0; j < p->w.K; j++) {
        const double *z = RE(d->fields, f * p->w.K + j, p->n) + at;
        double *row = RE(d->received + f * p->psi_size, j, ldk) + from;
        VD re = load(row), im = load(row + ldk);
        for (int i = 0; i < count; i++) {
            const int n = moved[i];
            const double z_re = change[n] * z[n], z_im = -change[n] * z[p->n + n];
            const VD h_re = load(RE(columns, n, ldk)), h_im = load(IM(columns, n, ldk));
            re += z_re * h_re;
            im += z_re * h_im;
            re -= z_im * h_im;
            im += z_im * h_re;
        }
        store(row, re);
        store(row + ldk, im);
    }
}

/* One sweep of exact coordinate descent on p->m in the box, A^T updated in place:
 * dA_kj = H_kn Z_nj dm_n, so each m_n has the quadratic sum_k a_k (|A_kk|^2 + D_k)
 * - 2 Re sum_k c_k A_kk, whose noise term is ridge * m_n^2 |Z_n|^2.  A block of WD elements
 * finds its slopes together; as one moves, the slopes of the others follow, and A at the end. */
static void descend(problem *p, descent *d) {
    const idx ld = p->w.ldk;
    for (idx at = 0; at < p->n; at += WD) {
        VD slope = {0}, bend = {0}, effect[WD] = {{0}};
        for (idx f = 0; f < p->F; f++)
            add_quadratic(p, d, f, at, &slope, &bend, effect);
        /* Every lane finds its step, and lane i's is made. */
        const VD zero = {0}, one = zero + 1, start = load(p->m + at);
        const VD inverse = pick(bend > 1e-300, 1 / bend, zero);
        VD moves = zero;
        VI lane = {-1};
        for (int i = 0; i < WD; i++) {
            const VD to = start - slope * inverse;
            const VD move = pick(to > one, one, pick(to < zero, zero, to)) - start;
            moves = pick(lane, move, moves);
            slope += move[i] * effect[i];
            lane = ROTATE(lane);
        }
        store(p->m + at, start + moves);
        double change[WD];
        int moved[WD], count = 0;
        for (int i = 0; i < WD; i++) {
            change[i] = moves[i];
            moved[count] = i;
            count += moves[i] != 0;
        }
        for (idx f = 0; f < p->F; f++)
            for (idx from = 0; from < ld; from += WD)
                add_moves(p, d, f, at, from, count, moved, change);
    }
}

/* New beams in channel f by a WMMSE update or by zero forcing, in psi; fields, A^T and the power
 * follow.  Returns the rate. */
static double update_beams(problem *p, descent *d, idx f, int zero_forced) {
    work_d *w = &p->w;
    const idx K = w->K, ldk = w->ldk;
    const double ratio = p->noise_power / p->power;
    double *gram = w->square[0], *received = w->square[1], *psi = p->psi + f * p->psi_size;
    whiten(p, f, gram);
    if (zero_forced) {
        double price;
        if (!isfinite(zf_terms(p, gram, psi, w->square[2], &price)))
            invert(K, ldk, gram, psi, w->square[2]);
    } else {
        transpose(K, ldk, d->received + f * p->psi_size, received);
        wmmse_update(K, ldk, gram, psi, received, d->spent[f], ratio, w->weights, w->links,
                     w->sweep);
    }
    d->spent[f] = receive(K, ldk, gram, psi, received);
    transpose(K, ldk, received, d->received + f * p->psi_size);
    multiply(w->L, K, w->beams, ldk, psi, ldk, w->digital);
    dagger(w->L, K, w->digital, ldk, w->beams_out, w->ldl);
    multiply(K, w->L, w->beams_out, w->ldl, d->phase + (p->phases > 1 ? f * w->L * 2 * p->n : 0),
             p->n, RE(d->fields, f * K, p->n));
    double *a = d->curvature + f * ldk, *c = d->target + 2 * f * ldk;
    memset(a, 0, (size_t)ldk * 8);
    memset(c, 0, (size_t)(2 * ldk) * 8);
    d->ridge[f] = 0;
    if (!(d->spent[f] > 0))
        return 0;
    find_links(K, ldk, received, ratio * d->spent[f], w->links);
    for (idx k = 0; k < K; k++) { /* WMMSE and fractional programming have one quadratic */
        const double sinr = w->links.ratio[k];
        const double total = w->links.disturbance[k] * (1 + sinr);
        const double gain = w->weights[k] * (1 + sinr) / total;
        a[k] = gain * w->links.signal[k] / total;
        c[k] = gain * RE(received, k, ldk)[k];
        c[ldk + k] = -gain * IM(received, k, ldk)[k];
        d->ridge[f] += p->radiated ? ratio * a[k] : 0;
    }
    return rate_of(ldk, w->links.ratio, w->weights);
}

static int coordinate_descent(hf_shape s, hf_problem given, int zero_forced, double tolerance,
                              int64_t iterations, hf_solved to) {
    problem at, *p = &at;
    descent d;
    const int status = open_problem(p, s, given.radiated, 0);
    if (status)
        return status;
    char *memory = aligned_alloc(64, (size_t)round_up((idx)lay_out_descent(p, &d, NULL), 64));
    if (!memory) {
        close_problem(p);
        return HF_NO_MEMORY;
    }
    lay_out_descent(p, &d, memory);
    work_d *w = &p->w;
    const size_t bytes = (size_t)p->n * 8, psi_bytes = (size_t)(p->F * p->psi_size) * 8;
    for (idx b = 0; b < s.batch; b++) {
        double *history = to.history + b * (iterations + 1);
        for (int64_t i = 0; i < iterations + 1; i++)
            history[i] = NAN;
        if (!load_problem(p, given, b)) {
            put_nan(p, b, to);
            continue;
        }
        load_descent(p, &d);
        set_amplitudes(p, p->m);
        for (idx f = 0; f < p->F; f++) {
            double *psi = p->psi + f * p->psi_size;
            whiten(p, f, w->square[0]);
            matched(w->K, w->ldk, w->square[0], psi);
            d.spent[f] = receive(w->K, w->ldk, w->square[0], psi, w->square[1]);
            transpose(w->K, w->ldk, w->square[1], d.received + f * p->psi_size);
        }
        double best_rate = -INFINITY, rate = 0;
        int64_t made = 0;
        uint8_t converged = 0;
        for (int64_t i = 0;; i++) {
            const double previous = rate;
            set_amplitudes(p, p->m);
            rate = 0;
            for (idx f = 0; f < p->F; f++)
                rate += update_beams(p, &d, f, zero_forced);
            history[i] = rate;
            made = i;
            if (rate > best_rate) {
                best_rate = rate;
                memcpy(p->best, p->m, bytes);
                memcpy(p->best_psi, p->psi, psi_bytes);
            }
            converged = i > 0 && fabs(rate - previous) < tolerance;
            if (converged || i == iterations)
                break;
            descend(p, &d);
            for (idx f = 0; p->radiated && !zero_forced && f < p->F; f++) {
                VD spent = {0};
                for (idx j = 0; j < 2 * w->K; j++)
                    EACH(n) {
                        const VD field = load(p->m + n) * load(d.fields + (2 * f * w->K + j) * p->n + n);
                        spent += field * field;
                    }
                d.spent[f] = add_up(spent);
            }
        }
        set_amplitudes(p, p->best);
        for (idx f = 0; f < p->F; f++) {
            whiten(p, f, w->square[0]);
            find_beams(p, f, w->square[0], p->best_psi + f * p->psi_size);
        }
        put(p, b, p->best, p->beams, best_rate, made, converged, to);
    }
    free(d.block);
    close_problem(p);
    return HF_OK;
}

#undef EACH
#undef SWAP
#undef MEMORY
#undef RECENT
#undef MOST_STEPS

#endif
