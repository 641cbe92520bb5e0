/* From the callers' arrays to lanes and back, and the problem in between. */

#define AHEAD 64             /* reals of an item that are fetched early */
#define STRIP 16             /* vecs of elements that are worked on together */
#define KEPT_PAIRS 524288    /* bytes of the pairs of a phase, to be kept */
#define NATURAL 1.44269504088896340736 /* 1 / ln 2 */
#define GUARD (sizeof(real) == 4 ? 1e-6 : 1e-12) /* of the mean of S's diagonal, added to it */
#define SINGULAR (sizeof(real) == 4 ? 1e-6 : 1e-12) /* smallest pivot over largest entry */

/* An operator in this kind of number: as the callers', with what the lanes are (kinds.h) and, of
 * the batch, one mark per item.  A pack does what is not marked and marks what it leaves, a lone
 * problem does what is marked, or everything without marks. */
#define OPERATOR(name)                                                                    \
    static int name(const hf_shape *shape, const hf_operand *in, const double *options UNUSED, \
                    void *const *out, int lanes UNUSED, uint8_t *marks UNUSED)

typedef struct {
    const hf_shape *shape;
    idx K, N, L;      /* users, elements, feeds */
    idx n;            /* vecs over the elements */
    idx F;            /* channels that a lane goes through, one after another */
    int lanes;        /* ITEMS or CHANNELS */
    int own_phase;    /* whether every lane has a phase of its own */
    idx phases, pairs_size, pairs_kept;
    int radiated;
    int floored;      /* whether items have minimum rates; -1 where some may */
    int objective;    /* what is maximised (objective.inc.h) */
    int dual;         /* whether its general beams are those of the dual uplink */
    int limited;      /* whether feeds have limits of their own (feeds.inc.h) */
    hf_operand feed_power; /* (L) of each item: these limits */
    hf_operand overhead_of; /* of each item, or none */
    hf_operand split;       /* (F, K) of each item, or none */
    idx sweeps;
    hf_operand min_rate; /* (K) of each item, or none */
    int element;      /* what the elements can do (element.inc.h) */
    hf_operand movable; /* (N) of each item, or none: 1, or 0 for an element that is stuck */
    uint8_t *marks;   /* a lone problem: what is still to be done; a pack: what it leaves */
    idx item[W];      /* of the batch, in each lane; idle lanes hold a copy of a good one */
    int used[W];      /* whether a lane's results are wanted */
    num noise;        /* for a power of one, of the channel and phase as scaled */
    num phase_size;   /* the largest part of the phase, which is scaled to one */
    num channel_size; /* the same of the channels */
    num size;         /* V of the caller is size times ours */
    num weight_size;  /* the largest weight; those here have a largest of one */
    num overhead;     /* power consumed besides the beams', over the power */

    cvec *channel;    /* F x n x K */
    void *phase;      /* phases x n x L: cparts, or rparts where the lanes share it */
    void *pairs;      /* phases x n x L^2: vec or real */
    creal *products;  /* F x n x K x L: H_kn Phi_nl, where all lanes share them */
    vec *free;        /* n: 1 for elements that move, 0 for those that are stuck */
    mask all_move;    /* whether no element is stuck */
    vec *squares;     /* n: |q|^2 */
    /* of elements with complex weights */
    cvec *held;       /* n: q as given */
    cvec *q, *d_q;    /* n: at the state of the last pass, and its derivative */
    cvec along;       /* the derivative of given weights */
    cvec *turned;     /* n x K: a channel times q or its derivative */
    vec *ones;        /* n */

    num *served;      /* K: 1 for users who may get a beam, 0 for others */
    num *weights; /* K */
    /* K, of the channel entered: least SINR, minimum rate in bits, weights of balanced rates */
    num *targets, *floors, *balancing;
    num *limits; /* F x 3 x K: the same of all */
    num *begun;  /* F x K: the parts that they begin with */

    /* of one channel */
    cpx *effective;             /* G, K x L */
    cpx *feeds;                 /* S, L x L, or its factor */
    cpx *whitened, *carrier;    /* Y' = G'^H and Y with V = Y Psi, L x K */
    cpx *power_gram;            /* S under limits of the feeds, where p->feeds is a metric */
    num *feed_cost, *spent;     /* L, L + 1: one over the limits; what beams take of each */
    cpx *gram;                  /* X = Y'^H Y', K x K */
    cpx *received, *adjoint;    /* A and C, K x K */
    cpx *inverse, *spare;       /* K x K */
    cpx *own, *aim;             /* A_kk, and what beams are made of (inner_general.inc.h), K */
    cpx *omega;                 /* K x L */
    cpx *beams, *radiating;     /* V, L x K; V V^H, L x L */
    num *disturbance, *ratio, *signal, *half, *inverse_half, *cost, *filled, *above; /* K */
    vec *slope;                 /* n */
    void *sums;                 /* of the passes, and of the feeds' products: L x max(K, L) */
    nparts *factor;             /* what the waves are multiplied by, L x K */
    cvec *field;                /* STRIP x K */

    char *block;      /* the memory, to free */
} problem;

typedef struct {
    char *memory;
    size_t used;
} arena;

INLINE void *take(arena *a, idx count, size_t bytes) {
    void *at = a->memory + a->used;
    a->used += (size_t)round_up(count * (idx)bytes, 64);
    return at;
}
#define TAKE(a, count, type) ((type *)take(a, count, sizeof(type)))

/* Memory for lanes, on a boundary of 64 bytes, where the allocator's own pointer stands before it:
 * glibc returns large aligned blocks to the system each time, and their pages are cleared anew. */
static char *claim(size_t bytes) {
    char *own = malloc(bytes + 128);
    if (!own)
        return NULL;
    char *aligned = own + 128 - (uintptr_t)own % 64;
    memcpy(aligned - sizeof own, &own, sizeof own);
    return aligned;
}

static void release(char *memory) {
    char *own;
    memcpy(&own, memory - sizeof own, sizeof own);
    free(own);
}

/* Whether to lay out an operator's arrays once more: first for their size alone, then in memory of
 * that size.  No memory afterwards means that there was none. */
static int lay_out(arena *a) {
    if (a->memory || !a->used)
        return !a->memory;
    a->memory = claim(a->used);
    a->used = 0;
    return a->memory != NULL;
}

/* Status of an operator that has done its items, or was told to stop. */
static int concluded(arena *a, int told) {
    release(a->memory);
    return told ? HF_STOPPED : HF_OK;
}

INLINE int stopped(const hf_shape *s) {
    return s->stop && *(const volatile int *)s->stop;
}

/* Goes through the lanes that hold an item of the caller's. */
#define USED_LANES(p, lane)                        \
    for (idx lane = 0; lane < LANES; lane++)       \
        if ((p)->used[lane])

/* Number n of one column of an array over the elements that has `columns`. */
INLINE cpx number_at(const cvec *column, idx columns, idx n) {
#ifdef HF_LONE
    const cvec block = column[n / W * columns];
    return (cpx){block.re[n % W], block.im[n % W]};
#else
    return (cpx){column[n * columns].re, column[n * columns].im};
#endif
}
INLINE void put_number(cvec *column, idx columns, idx n, cpx x) {
#ifdef HF_LONE
    column[n / W * columns].re[n % W] = x.re;
    column[n / W * columns].im[n % W] = x.im;
#else
    column[n * columns] = (cvec){x.re, x.im};
#endif
}

/* ---- arrays of one item in its own precision */

INLINE idx bytes_of(const hf_shape *s) { return s->single ? 4 : 8; }
INLINE double read_one(int single, const void *from, idx i) {
    return single ? (double)((const float *)from)[i] : ((const double *)from)[i];
}
INLINE void write_one(int single, void *to, idx i, double x) {
    if (single)
        ((float *)to)[i] = (float)x;
    else
        ((double *)to)[i] = x;
}

/* W reals of an array in either precision. */
INLINE vec read_vec(int single, const void *from, idx i) {
#ifdef HF_FLOATS
    typedef double other __attribute__((vector_size(2 * VBYTES), aligned(8), may_alias));
    if (!single)
        return __builtin_convertvector(*(const other *)((const double *)from + i), vec);
#else
    typedef float other __attribute__((vector_size(VBYTES / 2), aligned(4), may_alias));
    if (single)
        return __builtin_convertvector(*(const other *)((const float *)from + i), vec);
#endif
    return *(const loose *)((const real *)from + i);
}

INLINE void write_vec(int single, void *to, idx i, vec x) {
#ifndef HF_FLOATS
    typedef float narrow __attribute__((vector_size(VBYTES / 2), aligned(4), may_alias));
    if (single) {
        *(narrow *)((float *)to + i) = __builtin_convertvector(x, narrow);
        return;
    }
#endif
    (void)single;
    *(loose *)((real *)to + i) = x;
}

/* to[i] = the reals i of W arrays, one per lane, in groups of `group` reals `step` vecs apart, whose
 * size divides W and `count`; fetches early what lies `ahead` bytes further. */
INLINE void gather_ahead(int single, const void *const *from, idx count, const int group, idx step,
                         idx ahead, vec *restrict to) {
    idx next = 0;
    for (; next < count && count >= W; next += W) {
        const idx i = least(next, count - W); /* the last block repeats what the others leave */
        const idx soon = i * (single ? 4 : 8) + ahead;
        vec block[W], *here = to + i / group * step;
        for (int lane = 0; lane < W; lane++) {
            block[lane] = read_vec(single, from[lane], i);
            __builtin_prefetch((const char *)from[lane] + soon);
        }
        turn(block);
        for (int j = 0; j < W; j++)
            here[j / group * step + j % group] = block[j];
    }
    for (idx i = next; i < count; i++)
        for (int lane = 0; lane < W; lane++)
            to[i / group * step + i % group][lane] = (real)read_one(single, from[lane], i);
}
INLINE void gather(int single, const void *const *from, idx count, const int group, idx step,
                   vec *restrict to) {
    gather_ahead(single, from, count, group, step, AHEAD * (single ? 4 : 8), to);
}

/* The inverse, of consecutive vecs times `by`, into the arrays of the lanes that have one. */
INLINE void scatter(int single, void *const *to, idx count, vec by, const vec *restrict from) {
    idx next = 0;
    for (; next < count && count >= W; next += W) {
        const idx i = least(next, count - W);
        vec block[W];
        for (int j = 0; j < W; j++)
            block[j] = by * from[i + j];
        turn(block);
        for (int lane = 0; lane < W; lane++)
            if (to[lane])
                write_vec(single, to[lane], i, block[lane]);
    }
    for (idx i = next; i < count; i++)
        for (int lane = 0; lane < W; lane++)
            if (to[lane])
                write_one(single, to[lane], i, by[lane] * from[i][lane]);
}

/* Where channel f of `bytes` begins in every lane. */
INLINE void lane_starts(const problem *p, hf_operand from, idx f, idx bytes, const void **start) {
    for (idx lane = 0; lane < W; lane++) {
        const idx channel =
            p->lanes == CHANNELS ? least(f * LANES + lane, p->shape->channels - 1) : f;
        start[lane] = (const char *)from.data + p->item[lane] * from.step + channel * bytes;
    }
}

/* Number i of each item. */
static num read_number(const problem *p, hf_operand from, idx i) {
    num x = NUM(0);
    for (idx lane = 0; lane < LANES; lane++)
        set(&x, lane, (real)doubles_of(from, p->item[lane])[i]);
    return x;
}

/* `count` complex numbers of each item. */
static void read_matrix(const problem *p, hf_operand from, idx f, idx count, cpx *to) {
    const void *start[W];
    lane_starts(p, from, f, 2 * count * bytes_of(p->shape), start);
#ifdef HF_LONE
    for (idx i = 0; i < count; i++)
        to[i] = (cpx){read_one(p->shape->single, start[0], 2 * i),
                      read_one(p->shape->single, start[0], 2 * i + 1)};
#else
    gather(p->shape->single, start, 2 * count, 1, 1, (vec *)to);
#endif
}

/* The inverse, of channel f. */
static void write_matrix(const problem *p, const cpx *from, idx count, void *to, idx f) {
    const idx bytes = 2 * count * bytes_of(p->shape), F = p->shape->channels;
#ifdef HF_LONE
    char *at = (char *)to + (p->item[0] * F + f) * bytes;
    for (idx i = 0; p->used[0] && i < count; i++) {
        write_one(p->shape->single, at, 2 * i, from[i].re);
        write_one(p->shape->single, at, 2 * i + 1, from[i].im);
    }
#else
    void *start[W];
    for (idx lane = 0; lane < W; lane++) {
        const idx channel = p->lanes == CHANNELS ? f * W + lane : f;
        const int wanted = p->lanes == CHANNELS ? channel < F : p->used[lane];
        start[lane] = wanted ? (char *)to + (p->item[lane] * F + channel) * bytes : NULL;
    }
    scatter(p->shape->single, start, 2 * count, VEC(1), (const vec *)from);
#endif
}

/* Reals over the elements, one each. */
static void read_elements(const problem *p, hf_operand from, vec *to) {
    const void *start[W];
    lane_starts(p, from, 0, 0, start);
#ifdef HF_LONE
    real last[W] = {0};
    for (idx i = 0; i < p->n; i++)
        if ((i + 1) * W <= p->N) {
            to[i] = read_vec(p->shape->single, start[0], i * W);
        } else {
            for (idx j = 0; i * W + j < p->N; j++)
                last[j] = read_one(p->shape->single, start[0], i * W + j);
            to[i] = *(const loose *)last;
        }
#else
    gather(p->shape->single, start, p->N, 1, 1, to);
#endif
}

static void write_elements(const problem *p, const vec *from, void *to) {
#ifdef HF_LONE
    for (idx i = 0; p->used[0] && i < p->N; i++)
        write_one(p->shape->single, to, p->item[0] * p->N + i, from[i / W][i % W]);
#else
    void *start[W];
    for (idx lane = 0; lane < W; lane++)
        start[lane] =
            p->used[lane] ? (char *)to + p->item[lane] * p->N * bytes_of(p->shape) : NULL;
    scatter(p->shape->single, start, p->N, VEC(1), from);
#endif
}

/* A number of each lane that is used, to a double of its item. */
static void write_number(const problem *p, num from, double *to) {
    USED_LANES(p, lane)
        to[p->item[lane]] = get(from, lane);
}

/* Rows of N complex numbers, K of them, to n x K. */
static void read_rows(const problem *p, hf_operand from, idx f, idx K, cvec *to) {
    const int single = p->shape->single;
    const idx bytes = 2 * p->N * bytes_of(p->shape);
    const void *start[W];
    lane_starts(p, from, f, K * bytes, start);
    for (idx k = 0; k < K; k++) {
#ifdef HF_LONE
        real last[2 * W] = {0};
        for (idx i = 0; i < p->n; i++) {
            vec low, high;
            if ((i + 1) * W <= p->N) {
                low = read_vec(single, start[0], 2 * i * W);
                high = read_vec(single, start[0], 2 * i * W + W);
            } else {
                for (idx j = 0; j < 2 * (p->N - i * W); j++)
                    last[j] = read_one(single, start[0], 2 * i * W + j);
                low = ((const loose *)last)[0];
                high = *(const loose *)(last + W);
            }
            to[i * K + k] = (cvec){SHUFFLE(low, high, EVEN_LANE), SHUFFLE(low, high, ODD_LANE)};
        }
        start[0] = (const char *)start[0] + bytes;
#else
        gather_ahead(single, start, 2 * p->N, 2, 2 * K,
                     k + 1 < K ? AHEAD * (single ? 4 : 8) : W * from.step - k * bytes,
                     (vec *)(to + k));
        for (idx lane = 0; lane < W; lane++)
            start[lane] = (const char *)start[lane] + bytes;
#endif
    }
}

/* N rows of `columns` complex numbers to n x columns. */
static void read_columns(const problem *p, hf_operand from, idx f, idx columns, cvec *to) {
    const int single = p->shape->single;
    const idx bytes = 2 * columns * bytes_of(p->shape);
    const void *start[W];
    lane_starts(p, from, f, p->N * bytes, start);
#ifdef HF_LONE
    const char *item = start[0];
    for (idx i = 0; i < p->n; i++) { /* the lanes are elements here */
        for (idx lane = 0; lane < W; lane++)
            start[lane] = item + least(i * W + lane, p->N - 1) * bytes;
        gather(single, start, 2 * columns, 1, 1, (vec *)(to + i * columns));
        for (idx lane = p->N - i * W; lane < W; lane++)
            for (idx c = 0; c < columns; c++)
                to[i * columns + c].re[lane] = to[i * columns + c].im[lane] = 0;
    }
#else
    gather(single, start, 2 * p->N * columns, 1, 1, (vec *)to);
#endif
}

INLINE lanes higher(lanes a, lanes b) {
    const lanes more = a > b;
    return (a & more) | (b & ~more);
}

/* The largest real or imaginary part of numbers `step` vecs apart. */
static num largest_part(idx count, idx step, const void *numbers) {
    lanes top[2] = {{0}}; /* sizes are ordered as their bits are, and NaN is above all */
    const bit_vec *a = numbers;
    for (idx i = 0; i < count; i++, a += step)
        for (int part = 0; part < 2; part++)
            top[part] = higher((lanes)(a[part] & ~SIGN_BIT), top[part]);
    return largest((vec)higher(top[0], top[1]));
}

/* One over the power of two under a size, a factor that changes no digit; one of nothing. */
INLINE num inverse_size(num size) {
    const bit_vec sized = (bit_vec)spread(size) >> MANTISSA_BITS << MANTISSA_BITS;
    return pick(size > 0, smaller(1 / largest((vec)sized), NUM(HUGE_REAL)), NUM(1));
}

/* Scales numbers to a largest part of about one.  Returns what they were divided by. */
static num scale_parts(idx count, num size, cvec *a) {
    const num inverse = inverse_size(size);
    const vec by = spread(inverse);
    for (idx i = 0; i < count; i++)
        a[i] = (cvec){by * a[i].re, by * a[i].im};
    return 1 / inverse;
}

/* The inverse of read_columns, of the first channel, times `by`. */
static void write_columns(const problem *p, const cvec *from, idx columns, num by, void *to) {
    const int single = p->shape->single;
    const idx bytes = 2 * columns * bytes_of(p->shape);
    void *start[W];
#ifdef HF_LONE
    for (idx i = 0; p->used[0] && i < p->n; i++) { /* the lanes are elements here */
        for (idx lane = 0; lane < W; lane++)
            start[lane] = i * W + lane < p->N
                              ? (char *)to + (p->item[0] * p->N + i * W + lane) * bytes
                              : NULL;
        scatter(single, start, 2 * columns, spread(by), (const vec *)(from + i * columns));
    }
#else
    for (idx lane = 0; lane < W; lane++)
        start[lane] = p->used[lane] ? (char *)to + p->item[lane] * p->N * bytes : NULL;
    scatter(single, start, 2 * p->N * columns, by, (const vec *)from);
#endif
}

/* Amplitudes, or complex weights as the last pass over states m left them. */
static void write_amplitudes(const problem *p, const vec *m, void *to) {
    if (p->element)
        write_columns(p, p->q, 1, NUM(1), to);
    else
        write_elements(p, m, to);
}

/* ---- phases: one for all lanes as plain numbers, or one each */

#ifndef HF_LONE
#define SHARED
#define PASS(name) name##_shared
#define WAVE real
#define CWAVE rparts
#include "passes.inc.h"
#undef PASS
#undef WAVE
#undef SHARED
#undef CWAVE
#endif
#define PASS(name) name##_own
#define WAVE vec
#define CWAVE cparts
#include "passes.inc.h"
#undef PASS
#undef WAVE
#undef CWAVE

#ifdef HF_LONE
#define BY_PHASE(p, name, ...) name##_own(__VA_ARGS__)
#else
#define BY_PHASE(p, name, ...) \
    ((p)->own_phase ? name##_own(__VA_ARGS__) : name##_shared(__VA_ARGS__))
#endif

INLINE const cvec *channel_of(const problem *p, idx f) { return p->channel + f * p->n * p->K; }
INLINE void *wave_at(const problem *p, void *base, idx f, idx size) {
    const idx g = p->phases > 1 ? f : 0;
    return (char *)base + g * size * (idx)(p->own_phase ? sizeof(vec) : sizeof(real));
}
INLINE void *phase_of(const problem *p, idx f) { return wave_at(p, p->phase, f, 3 * p->n * p->L); }
INLINE void *pairs_of(const problem *p, idx f) { return wave_at(p, p->pairs, f, p->pairs_size); }

/* Phi_nl of channel f. */
INLINE cpx wave_of(const problem *p, idx f, idx n, idx l) {
#ifdef HF_LONE
    const cparts wave = ((const cparts *)phase_of(p, f))[n / W * p->L + l];
    return (cpx){wave.part[0][n % W], wave.part[1][n % W]};
#else
    if (p->own_phase) {
        const cparts wave = ((const cparts *)phase_of(p, f))[n * p->L + l];
        return (cpx){wave.part[0], wave.part[1]};
    }
    const rparts wave = ((const rparts *)phase_of(p, f))[n * p->L + l];
    return (cpx){NUM(wave.part[0]), NUM(wave.part[1])};
#endif
}

/* Complex weights of the elements at their states m. */
static void weigh_elements(const problem *p, const vec *m) {
    for (idx i = 0; i < p->n; i++) {
        cvec q = p->held[i], d_q = p->along;
        if (p->element != GIVEN)
            weigh_state(p->element, m[i], &q, &d_q);
        const lanes moves = p->free[i] > 0;
        p->q[i] = choose_cvec(moves, q, p->held[i]);
        p->d_q[i] = (cvec){p->free[i] * d_q.re, p->free[i] * d_q.im};
    }
}

/* Channel f times complex weights, `step` apart: what passes over the channel take for it. */
static const cvec *turn_channel(const problem *p, idx f, const cvec *by, idx step) {
    const cvec *h = channel_of(p, f);
    cvec *to = p->turned;
    for (idx i = 0; i < p->n; i++, by += step)
        for (idx k = 0; k < p->K; k++, h++)
            *to++ = (cvec){h->re * by->re - h->im * by->im, h->re * by->im + h->im * by->re};
    return p->turned;
}

/* ---- passes of candidates: H_kn Phi_nl is one number for all lanes, and half the work is done once */

#define PRODUCT_BLOCK 6
#define PRODUCT_ELEMENTS 4

INLINE creal *products_of(const problem *p, idx f) {
    return p->products + f * p->n * p->K * p->L;
}

static void make_products(const problem *p) {
    creal *to = p->products;
    for (idx f = 0; f < p->F; f++)
        for (idx n = 0; n < p->N; n++)
            for (idx k = 0; k < p->K; k++)
                for (idx l = 0; l < p->L; l++) {
                    const cpx h = number_at(channel_of(p, f) + k, p->K, n);
                    const cpx phi = wave_of(p, f, n, l);
                    const creal x = {get(h.re, 0), get(h.im, 0)}, y = {get(phi.re, 0), get(phi.im, 0)};
                    *to++ = (creal){x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
                }
}

INLINE void forward_products(const int block, idx n, idx step, const creal *restrict products,
                             const vec *restrict m, cpx *restrict out) {
    cvec sum[PRODUCT_BLOCK];
    for (int e = 0; e < block; e++)
        sum[e] = (cvec){{0}, {0}};
    for (idx i = 0; i < n; i++)
        for (int e = 0; e < block; e++) {
            sum[e].re += m[i] * products[i * step + e].re;
            sum[e].im += m[i] * products[i * step + e].im;
        }
    for (int e = 0; e < block; e++)
        out[e] = (cpx){total(sum[e].re), total(sum[e].im)};
}

INLINE void backward_products(const int elements, idx step, const creal *restrict products,
                              const cpx *restrict omega, vec *restrict slope) {
    cvec sum[PRODUCT_ELEMENTS];
    for (int e = 0; e < elements; e++)
        sum[e] = (cvec){{0}, {0}};
    for (idx i = 0; i < step; i++) {
        const vec x = spread(omega[i].re), y = spread(omega[i].im);
        for (int e = 0; e < elements; e++) {
            sum[e].re += x * products[e * step + i].re;
            sum[e].im += y * products[e * step + i].im;
        }
    }
    for (int e = 0; e < elements; e++)
        slope[e] = sum[e].re + sum[e].im;
}

/* G of a channel at h. */
static void pass_forward(const problem *p, idx f, const cvec *h, const vec *m, cpx *effective) {
    BY_PHASE(p, forward, p->K, p->L, p->n, h, phase_of(p, f), m, p->sums, effective);
}

/* G of channel f; complex weights are left at the states m, for what follows. */
static void find_effective(const problem *p, idx f, const vec *m, cpx *effective) {
    const cvec *h = channel_of(p, f);
    if (p->element) {
        weigh_elements(p, m);
        h = turn_channel(p, f, p->q, 1);
        m = p->ones;
    } else if (p->products) {
        const idx step = p->K * p->L;
        const creal *products = products_of(p, f);
        idx e = 0;
        for (; e + PRODUCT_BLOCK <= step; e += PRODUCT_BLOCK)
            forward_products(PRODUCT_BLOCK, p->n, step, products + e, m, effective + e);
        for (; e < step; e++)
            forward_products(1, p->n, step, products + e, m, effective + e);
        return;
    }
    pass_forward(p, f, h, m, effective);
}

/* Re sum_k conj(H_kn) sum_l Omega_kl conj(Phi_nl) of a channel at h. */
static void pass_backward(const problem *p, idx f, const cvec *h, const cpx *omega, vec *slope) {
    part_factor(p->L, p->K, dagger(omega, p->L), p->factor);
    BY_PHASE(p, backward, p->K, p->L, p->n, h, phase_of(p, f), p->factor, slope);
}

/* Re(conj(q') sum_k conj(H_kn) sum_l Omega_kl conj(Phi_nl)) with the weights of the last pass. */
static void pull_back(const problem *p, idx f, const cpx *omega, vec *slope) {
    if (p->products && !p->element) {
        const idx step = p->K * p->L;
        const creal *products = products_of(p, f);
        idx i = 0;
        for (; i + PRODUCT_ELEMENTS <= p->n; i += PRODUCT_ELEMENTS)
            backward_products(PRODUCT_ELEMENTS, step, products + i * step, omega, slope + i);
        for (; i < p->n; i++)
            backward_products(1, step, products + i * step, omega, slope + i);
        return;
    }
    const cvec *h = p->element ? turn_channel(p, f, p->d_q, 1) : channel_of(p, f);
    pass_backward(p, f, h, omega, slope);
}

/* The same for a derivative q' of any kind that is one for all elements. */
static void pull_back_along(const problem *p, idx f, cvec along, const cpx *omega, vec *slope) {
    pass_backward(p, f, turn_channel(p, f, &along, 0), omega, slope);
}

/* |q|^2 of the elements at m. */
static const vec *find_squares(const problem *p, const vec *m) {
    for (idx i = 0; i < p->n; i++)
        if (p->element)
            p->squares[i] = p->q[i].re * p->q[i].re + p->q[i].im * p->q[i].im;
        else
            p->squares[i] = m[i] * m[i];
    return p->squares;
}
static void find_feed_gram(const problem *p, idx f, const vec *m, vec *sums, cpx *gram) {
    BY_PHASE(p, feed_gram, p->L, p->n, phase_of(p, f), pairs_of(p, f), (int)p->pairs_kept,
             find_squares(p, m), sums, gram);
}

/* Half the derivative of |q|^2 of element block i at m. */
INLINE vec half_slope(const problem *p, idx i, const vec *m) {
    if (p->element)
        return p->q[i].re * p->d_q[i].re + p->q[i].im * p->d_q[i].im;
    return m[i];
}
static void pull_back_feeds(const problem *p, idx f, const cpx *q, vec *sums, vec *slope) {
    BY_PHASE(p, feed_slope, p->L, p->n, phase_of(p, f), pairs_of(p, f), (int)p->pairs_kept, q, sums,
             slope);
}
/* Z = Phi V of `count` element blocks from i on, count x K. */
static void find_fields(const problem *p, idx f, idx i, idx count, const cpx *beams, cvec *fields) {
    const idx at = 3 * i * p->L;
    part_factor(p->L, p->K, plain(beams, p->K), p->factor);
#ifndef HF_LONE
    if (!p->own_phase) {
        fields_shared(p->K, p->L, count, (const void *)((const real *)phase_of(p, f) + at), p->factor,
                      fields);
        return;
    }
#endif
    fields_own(p->K, p->L, count, (const void *)((const vec *)phase_of(p, f) + at), p->factor,
               fields);
}

/* Loads the phase of the batch, or of the items in the lanes. */
static void load_phase(problem *p, hf_operand phase) {
    const hf_shape *s = p->shape;
    const idx size = p->n * p->L;
    for (idx g = 0; g < p->phases; g++) {
        if (p->own_phase) {
            cparts *to = phase_of(p, g);
            cvec *read = (cvec *)(to + size) - size;
            read_columns(p, phase, g, p->L, read);
            for (idx i = 0; i < size; i++)
                to[i] = parts_of(read[i].re, read[i].im);
            continue;
        }
        rparts *to = phase_of(p, g);
        const char *from = (const char *)phase.data + g * 2 * size * bytes_of(s);
        for (idx i = 0; i < size; i++) {
            const real re = (real)read_one(s->single, from, 2 * i);
            const real im = (real)read_one(s->single, from, 2 * i + 1);
            to[i] = (rparts){{re, im, re + im}};
        }
    }
}

/* What depends on the phase alone: scaled to a largest part of one, with the feeds' products. */
static void finish_phase(problem *p) {
    const idx count = p->phases * p->n * p->L;
    if (p->own_phase) {
        vec *phi = p->phase;
        p->phase_size = largest_part(count, 3, phi);
        const vec by = spread(inverse_size(p->phase_size));
        for (idx i = 0; i < 3 * count; i++)
            phi[i] *= by;
    } else {
        real *phi = p->phase, top = 0;
        for (idx i = 0; i < 3 * count; i++) {
            const real part = phi[i] < 0 ? -phi[i] : phi[i];
            if (i % 3 < 2)
                top = part > top || part != part ? part : top;
        }
        p->phase_size = NUM(top);
        const real by = get(inverse_size(p->phase_size), 0);
        for (idx i = 0; i < 3 * count; i++)
            phi[i] *= by;
    }
    for (idx g = 0; p->pairs_kept && g < p->phases; g++)
        BY_PHASE(p, make_pairs, p->L, p->n, phase_of(p, g), pairs_of(p, g));
}

/* ---- a problem's memory and sizes */

/* Sizes of a problem whose lanes are `lanes`. */
static void measure(problem *p, const hf_shape *s, int lanes, int own_phase) {
    memset(p, 0, sizeof *p);
    p->shape = s;
    p->K = s->users;
    p->N = s->elements;
    p->L = s->feeds;
    p->lanes = lanes;
    p->n = LANES > 1 ? p->N : (p->N + W - 1) / W;
    p->F = lanes == CHANNELS ? (s->channels + LANES - 1) / LANES : s->channels;
    p->phases = lanes == CHANNELS && s->phases > 1 ? p->F : s->phases;
    p->element = s->turned ? GIVEN : AMPLITUDE;
    p->own_phase = LANES == 1 || own_phase || (lanes == CHANNELS && s->phases > 1);
}

/* What every problem needs; `pairs`: whether the products of the feeds are needed. */
static void lay_out_problem(problem *p, arena *a, int pairs) {
    const size_t wave = p->own_phase ? sizeof(vec) : sizeof(real);
    p->channel = TAKE(a, p->F * p->n * p->K, cvec);
    p->phase = take(a, p->phases * p->n * p->L * 3, wave);
    const idx all_pairs = p->n * p->L * p->L;
    p->pairs_kept = pairs && all_pairs * (idx)wave <= KEPT_PAIRS;
    p->pairs_size = p->pairs_kept ? all_pairs : 0;
    p->pairs = take(a, pairs ? (p->pairs_kept ? p->phases * all_pairs : STRIP * p->L * p->L) : 0,
                    wave);
    const idx turned = p->shape->turned ? p->n : 0;
    const int shared = p->lanes == CANDIDATES && !turned;
    p->products = TAKE(a, shared ? p->F * p->n * p->K * p->L : 0, creal);
    if (!shared)
        p->products = NULL;
    p->free = TAKE(a, p->n, vec);
    p->squares = TAKE(a, p->n, vec);
    p->held = TAKE(a, turned, cvec);
    p->q = TAKE(a, turned, cvec);
    p->d_q = TAKE(a, turned, cvec);
    p->turned = TAKE(a, turned * p->K, cvec);
    p->ones = TAKE(a, turned, vec);
    p->served = TAKE(a, p->K, num);
    p->weights = TAKE(a, p->K, num);
    p->limits = TAKE(a, 3 * p->F * p->K, num);
    p->begun = TAKE(a, p->F * p->K, num);
    /* what the algebra of one channel needs */
    const idx K = p->K, L = p->L;
    p->effective = TAKE(a, K * L, cpx);
    p->feeds = TAKE(a, L * L, cpx);
    p->power_gram = TAKE(a, p->limited ? L * L : 0, cpx);
    p->feed_cost = TAKE(a, L, num);
    p->spent = TAKE(a, L + 1, num);
    p->whitened = TAKE(a, L * K, cpx);
    p->carrier = TAKE(a, L * K, cpx);
    p->gram = TAKE(a, K * K, cpx);
    p->received = TAKE(a, K * K, cpx);
    p->adjoint = TAKE(a, K * K, cpx);
    p->inverse = TAKE(a, K * K, cpx);
    p->spare = TAKE(a, K * K, cpx);
    p->own = TAKE(a, K, cpx);
    p->aim = TAKE(a, K, cpx);
    p->omega = TAKE(a, K * L, cpx);
    p->beams = TAKE(a, L * K, cpx);
    p->radiating = TAKE(a, L * L, cpx);
    num **vectors[] = {&p->disturbance, &p->ratio, &p->signal, &p->half,
                        &p->cost, &p->filled, &p->above, &p->inverse_half};
    for (int i = 0; i < 8; i++)
        *vectors[i] = TAKE(a, K, num);
    p->slope = TAKE(a, p->n, vec);
    p->sums = TAKE(a, most(K, L) * L, cparts);
    p->factor = TAKE(a, L * K, nparts);
    p->field = TAKE(a, STRIP * K, cvec);
}

/* Puts the next items of the batch into the lanes: of those that are for this kind of number, the
 * ones whose users have minimum rates or not, as p->floored says, and whose feeds have limits or
 * not, as p->limited says.  Returns whether there are any. */
static int fill_lanes(problem *p, idx *next) {
    const idx want = p->lanes == ITEMS ? LANES : 1;
    idx lane = 0;
    while (lane < want && *next < p->shape->batch) {
        const idx item = (*next)++;
        if (p->marks && p->marks[item] != (LANES == 1))
            continue;
        if (p->floored >= 0 && has_floors(p->shape, p->min_rate, item) != p->floored)
            continue;
        if (has_limits(p->shape, p->feed_power, item) != p->limited)
            continue;
        p->item[lane] = item;
        p->used[lane++] = 1;
    }
    const int found = lane > 0;
    for (; lane < W; lane++) {
        p->item[lane] = p->item[0];
        p->used[lane] = 0;
    }
    return found;
}

/* Puts the next items into lanes that are no longer used, one each.  Returns those lanes. */
static mask refill_lanes(problem *p, idx *next) {
    num fresh = NUM(0);
    for (idx lane = 0; p->lanes == ITEMS && LANES > 1 && lane < LANES; lane++) {
        if (p->used[lane])
            continue;
        while (*next < p->shape->batch && p->marks[*next])
            ++*next;
        if (*next == p->shape->batch)
            break;
        p->item[lane] = (*next)++;
        p->used[lane] = 1;
        set(&fresh, lane, 1);
    }
    return fresh > 0;
}

static mask lanes_in_use(const problem *p) {
    num used = NUM(0);
    for (idx lane = 0; lane < LANES; lane++)
        set(&used, lane, p->lanes == CHANNELS ? p->used[0] : p->used[lane]);
    return used > 0;
}

/* 1 for the lanes whose channel f is there, where the lanes are channels. */
static num channel_in_use(const problem *p, idx f) {
    num yes = NUM(1);
    for (idx lane = 0; p->lanes == CHANNELS && lane < LANES; lane++)
        set(&yes, lane, f * LANES + lane < p->shape->channels);
    return yes;
}

/* ---- a problem of the loops */

enum { TO_AMPLITUDES, TO_DIGITAL, TO_RATE, TO_ITERATIONS, TO_CONVERGED, TO_HISTORY }; /* outputs */

/* Goes to the limits of channel f. */
static void enter_channel(problem *p, idx f) {
    p->targets = p->limits + 3 * f * p->K;
    p->floors = p->targets + p->K;
    p->balancing = p->floors + p->K;
}

/* What a channel has to give if it has these parts (K) of minimum rates and of balanced ones. */
static void ask_parts(problem *p, const num *split) {
    for (idx k = 0; k < p->K; k++) {
        num rate = NUM(0);
        if (p->min_rate.data)
            rate = read_number(p, p->min_rate, k);
        p->floors[k] = split[k] * rate;
        p->balancing[k] = split[k] * p->weights[k];
        p->targets[k] = NUM(0);
        for (idx lane = 0; p->min_rate.data && lane < LANES; lane++)
            set(&p->targets[k], lane, (real)expm1((double)get(p->floors[k], lane) / NATURAL));
    }
}

/* The parts (F, K) that the channels begin with. */
static void load_split(const problem *p, num *split) {
    for (idx i = 0; i < p->F * p->K; i++) {
        split[i] = NUM(1);
        if (p->split.data)
            split[i] = read_number(p, p->split, i);
    }
}

/* Power, noise, weights and minimum rates, for channels that were divided by `size`.  Noise comes
 * to a power of one; its bounds are past all SNRs that single precision can tell. */
static void load_limits(problem *p, const hf_operand *limits, num size) {
    const double least = sizeof(real) == 4 ? 1e-30 : 1e-280;
    for (idx lane = 0; lane < LANES; lane++) {
        const double root_power = sqrt(*doubles_of(limits[0], p->item[lane]));
        const double waves = 1 / (double)get(inverse_size(p->phase_size), lane);
        const double root_noise = sqrt(*doubles_of(limits[1], p->item[lane])) / root_power /
                                  (double)get(size, lane) / (p->radiated ? 1 : waves);
        set(&p->noise, lane, (real)fmin(fmax(root_noise * root_noise, least), 1 / least));
        set(&p->size, lane, (real)(root_power / (p->radiated ? waves : 1)));
    }
    num heaviest = NUM(0);
    for (idx k = 0; k < p->K; k++) {
        p->weights[k] = read_number(p, limits[2], k);
        heaviest = larger(heaviest, p->weights[k]);
    }
    p->weight_size = pick(heaviest > 0, heaviest, NUM(1));
    for (idx k = 0; k < p->K; k++) {
        p->weights[k] = p->weights[k] / p->weight_size;
        p->served[k] = NUM(1);
    }
    load_split(p, p->begun);
    for (idx f = p->F - 1; f >= 0; f--) {
        enter_channel(p, f);
        ask_parts(p, p->begun + f * p->K);
    }
    for (idx l = 0; p->limited && l < p->L; l++)
        p->feed_cost[l] = p->size * p->size / read_number(p, p->feed_power, l);
    p->overhead = NUM(0);
    if (p->overhead_of.data)
        p->overhead = read_number(p, p->overhead_of, 0);
}

/* Loads amplitudes, or the states of complex ones, and which of the elements move.  Returns a sum
 * that is not finite where an amplitude is not. */
static num load_amplitudes(problem *p, hf_operand amplitudes, vec *m) {
    vec sum = {0}, movers = {0};
    if (p->element)
        read_columns(p, amplitudes, 0, 1, p->held);
    else
        read_elements(p, amplitudes, m);
    if (p->movable.data)
        read_elements(p, p->movable, p->free);
    for (idx i = 0; i < p->n; i++) {
        if (!p->movable.data)
            p->free[i] = VEC(1);
        movers += p->free[i];
        if (p->element) {
            p->ones[i] = VEC(1);
            m[i] = (vec){0};
            if (p->element != GIVEN)
                m[i] = state_of(p->element, p->held[i]);
            sum += p->held[i].re + p->held[i].im;
        } else {
            sum += m[i];
        }
    }
    p->all_move = not(total(movers) < (real)p->N);
    return total(sum);
}

/* Loads the items in the lanes, with amplitudes m; marks the lanes that are finite. */
static mask load_problem(problem *p, const hf_operand *in, int *loaded, vec *m) {
    const idx count = p->n * p->K;
    if (!*loaded || in[PHASE].step) {
        load_phase(p, in[PHASE]);
        finish_phase(p);
        *loaded = 1;
    }
    for (idx f = 0; f < p->F; f++)
        read_rows(p, in[CHANNEL], f, p->K, p->channel + f * count);
    num size = largest_part(p->F * count, 2, p->channel);
    if (p->lanes == CHANNELS) {
        real top = get(size, 0);
        for (idx lane = 1; lane < LANES; lane++)
            if (get(size, lane) > top || get(size, lane) != get(size, lane)) /* NaN stays */
                top = get(size, lane);
        size = NUM(top);
    }
    p->channel_size = size;
    const num unit = scale_parts(p->F * count, size, p->channel);
    if (p->products)
        make_products(p);
    const num sum = load_amplitudes(p, in[AMPLITUDES], m);
    load_limits(p, in + POWER, unit);
    return is_finite(size) & is_finite(p->phase_size) & is_finite(sum);
}

/* Kind and sizes of every output of an operator, as in the table. */
#define OUTPUTS_OF(name, NAME, ...) {__VA_ARGS__, NULL},
static const char *const OUTPUTS[][10] = {HF_EACH_OPERATOR(OUTPUTS_OF)};

/* Bytes of an item in such an output. */
static idx bytes_of_output(const hf_shape *s, const char *output) {
    const idx in_call = bytes_of(s);
    idx bytes = 8;
    switch (*output) {
    case 'c': bytes = 2 * in_call; break;
    case 'r': bytes = in_call; break;
    case 'q': bytes = s->turned ? 2 * in_call : in_call; break;
    case 'b': bytes = 1;
    }
    while (*++output)
        switch (*output) {
        case 'K': bytes *= s->users; break;
        case 'L': bytes *= s->feeds; break;
        case 'F': bytes *= s->channels; break;
        case 'I': bytes *= s->recorded; break;
        default: bytes *= s->elements;
        }
    return bytes;
}

/* Writes what bad items give, NaN, 0 and false, in the lanes that are not good, and leaves them
 * out. */
static void leave_out(problem *p, int operator_, mask good, void *const *out) {
    USED_LANES(p, lane) {
        if (holds(good, lane))
            continue;
        p->used[lane] = 0;
        for (int i = 0; OUTPUTS[operator_][i]; i++) {
            const char *output = OUTPUTS[operator_][i];
            const idx bytes = bytes_of_output(p->shape, output);
            const int number = *output == 'i' || *output == 'b'; /* all bits make a NaN of others */
            if (out[i])
                memset((char *)out[i] + p->item[lane] * bytes, number ? 0 : 0xff, (size_t)bytes);
        }
    }
}

/* Marks lanes for the lone problem. */
static void leave_lanes(problem *p, mask which) {
    for (idx lane = 0; LANES > 1 && lane < LANES; lane++)
        if (p->used[lane] && holds(which, lane)) {
            p->marks[p->item[lane]] = 1;
            p->used[lane] = 0;
        }
}

/* A rate, or an objective, in the caller's weights; negative values measure unmet minimum rates. */
INLINE num weigh(const problem *p, num rate) {
    return pick(rate > 0, rate * p->weight_size, rate);
}
INLINE num weigh_objective(const problem *p, num value) {
    switch (p->objective) {
    case MAX_MIN: return pick(value > 0, value / p->weight_size, value);
    case GEOMETRIC_MEAN:
    case MIN_POWER: return value;
    default: return weigh(p, value);
    }
}

/* Writes how a loop ended in every lane, with the rates of its iterates. */
static void write_ends(const problem *p, num rate, num made, mask converged, const num *trace,
                       idx traced, void *const *out) {
    USED_LANES(p, lane) {
        const idx item = p->item[lane], count = (idx)get(made, lane);
        ((double *)out[TO_RATE])[item] = get(rate, lane);
        if (!out[TO_ITERATIONS])
            continue;
        ((int64_t *)out[TO_ITERATIONS])[item] = count;
        ((uint8_t *)out[TO_CONVERGED])[item] = (uint8_t)holds(converged, lane);
        double *history = out[TO_HISTORY];
        for (idx i = 0; history && i <= count && i < traced; i++)
            history[item * traced + i] = get(weigh_objective(p, trace[i]), lane);
    }
}
