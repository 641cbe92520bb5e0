/* Runs every kernel of one instruction-set level over odd sizes and bad items.
 *
 * To be built with sanitizers, and the kernels with malloc, aligned_alloc and free renamed to
 * the check_* functions here.  Every array is a block of its own that ends where its last
 * element does and is aligned to one element.  What is asserted is either a plain loop over
 * the definition (links) or what must hold of any result (precoders and solves).
 */
#include "hmimo_fast_typed.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CMPLX /* glibc defines it for GCC alone */
#define CMPLX(real, imaginary) __builtin_complex((double)(real), (double)(imaginary))
#endif

#undef I
#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))
#define POWER 2.0
#define NOISE 0.25

typedef ptrdiff_t idx;
typedef double complex number;

/* What each item of a batch is. */
enum { PLAIN, WITH_NAN, WITH_INF, ZERO, DEPENDENT, ITEMS };

static const hf_table *kernels;
static hf_shape shape;
static int variant, failures;
static long cases;

/* ---------------------------------------------------------------- memory */

static int live, allocations_left = -1;

static int refused(void) { return allocations_left >= 0 && allocations_left-- == 0; }

void *check_malloc(size_t size) {
    if (refused())
        return NULL;
    live++;
    void *memory = malloc(size);
    if (memory) /* NaN in what is read before it is written */
        memset(memory, 0xff, size);
    return memory;
}

void *check_calloc(size_t count, size_t size) {
    if (refused())
        return NULL;
    live++;
    return calloc(count, size);
}

void *check_aligned_alloc(size_t alignment, size_t size) {
    if (refused())
        return NULL;
    live++;
    return aligned_alloc(alignment, size);
}

void check_free(void *block) {
    live -= block != NULL;
    free(block);
}

static void *blocks[32];
static int used;

/* `count` elements that end where the block does; the first is aligned to its size alone. */
static void *array(idx count, size_t size) {
    char *block = malloc((size_t)(count + 1) * size);
    if (!block || used == COUNT(blocks))
        abort();
    blocks[used++] = block;
    return block + size;
}

static void release(void) {
    while (used)
        free(blocks[--used]);
}

static size_t real_size(void) { return shape.single ? sizeof(float) : sizeof(double); }

static void *reals(idx count) { return array(count, real_size()); }

/* ---------------------------------------------------------------- values */

static uint64_t state;

static double uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53;
}

static double at(const void *values, idx i) {
    return shape.single ? ((const float *)values)[i] : ((const double *)values)[i];
}

static void put(void *values, idx i, double value) {
    if (shape.single)
        ((float *)values)[i] = (float)value;
    else
        ((double *)values)[i] = value;
}

static number at_c(const void *values, idx i) {
    return CMPLX(at(values, 2 * i), at(values, 2 * i + 1));
}

static const void *item(hf_operand operand, idx b) {
    return (const char *)operand.data + b * operand.step;
}

static idx items(int shared) { return shared ? 1 : shape.batch; }

/* Random values in (-1, 1), or (0, 1) where `positive`. */
static hf_operand random_reals(idx count, int shared, int positive) {
    void *values = reals(items(shared) * count);
    for (idx i = 0; i < items(shared) * count; i++)
        put(values, i, positive ? 0.05 + 0.9 * uniform() : 2 * uniform() - 1);
    return (hf_operand){values, shared ? 0 : count * (idx)real_size()};
}

static hf_operand random_complex(idx count, int shared) {
    return random_reals(2 * count, shared, 0);
}

static hf_operand doubles(idx count, double low, double high) {
    double *values = array(count, sizeof(double));
    for (idx i = 0; i < count; i++)
        values[i] = low + (high - low) * uniform();
    return (hf_operand){values, 0};
}

/* Which elements move, shared by the batch: most. */
static hf_operand flags(idx count) {
    void *values = reals(count);
    for (idx i = 0; i < count; i++)
        put(values, i, uniform() < 0.8);
    return (hf_operand){values, 0};
}

/* Turns the items of a batch of rows x columns complex matrices into what the enum says. */
static void spoil(hf_operand operand, idx rows, idx columns) {
    for (idx b = 0; operand.step && b < shape.batch; b++) {
        void *values = (void *)item(operand, b);
        const idx size = 2 * rows * columns;
        if (b == WITH_NAN || b == WITH_INF)
            put(values, (idx)(uniform() * (double)size), b == WITH_NAN ? NAN : INFINITY);
        if (b == ZERO)
            memset(values, 0, (size_t)size * real_size());
        if (b == DEPENDENT && rows > 1)
            memcpy((char *)values + 2 * columns * (idx)real_size(), values,
                   (size_t)(2 * columns) * real_size());
    }
}

/* What item b of a spoilt operand is. */
static int kind(hf_operand operand, idx b) { return operand.step ? (int)b : PLAIN; }

static int is_bad(hf_operand operand, idx b) {
    return kind(operand, b) == WITH_NAN || kind(operand, b) == WITH_INF;
}

/* ---------------------------------------------------------------- checks */

static void expect(int holds, const char *kernel, idx b, const char *what) {
    if (holds)
        return;
    if (++failures <= 20)
        fprintf(stderr,
                "%s %s, single %d, users %td, elements %td, feeds %td, channels %td, phases %td, "
                "variant %d, item %td: %s\n",
                kernels->level, kernel, shape.single, shape.users, shape.elements, shape.feeds,
                shape.channels, shape.phases, variant, b, what);
}

static void returned(int status, const char *kernel) {
    cases++;
    expect(status == HF_OK, kernel, -1, "returned a status");
    expect(live == 0, kernel, -1, "kept memory");
}

static double tolerance(void) { return shape.single ? 2e-4 : 1e-9; }

static int near(number actual, number expected, double scale) {
    return cabs(actual - expected) <= tolerance() * scale;
}

/* All of the values finite (or none). */
static int all_finite(const void *values, idx start, idx count, int finite) {
    for (idx i = start; i < start + count; i++)
        if ((isfinite(at(values, i)) != 0) != finite)
            return 0;
    return 1;
}

static double squared(const void *values, idx start, idx count) {
    double sum = 0;
    for (idx i = start; i < start + count; i++)
        sum += at(values, i) * at(values, i);
    return sum;
}

/* Power of diag(m) Phi V. */
static double radiated_power(const void *m, const void *phase, const void *digital) {
    double sum = 0;
    for (idx n = 0; n < shape.elements; n++)
        for (idx k = 0; k < shape.users; k++) {
            number wave = 0;
            for (idx l = 0; l < shape.feeds; l++)
                wave += at_c(phase, n * shape.feeds + l) * at_c(digital, l * shape.users + k);
            sum += cabs(at(m, n) * wave) * cabs(at(m, n) * wave);
        }
    return sum;
}

static int is_power(double spent) { return fabs(spent - POWER) <= 20 * tolerance() * POWER; }

/* ---------------------------------------------------------------- links */

/* G, A = G V, ratios, and C of the gradient of one item. */
typedef struct {
    number *effective, *received, *adjoint;
    double *ratio, rate;
} link;

static link define(const void *channel, const void *m, const void *phase, const void *digital,
                   const double *weights) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds;
    link x = {array(K * L, sizeof(number)), array(K * K, sizeof(number)),
              array(K * K, sizeof(number)), array(K, sizeof(double)), 0};
    for (idx k = 0; k < K; k++)
        for (idx l = 0; l < L; l++) {
            number sum = 0;
            for (idx n = 0; n < N; n++)
                sum += at_c(channel, k * N + n) * at(m, n) * at_c(phase, n * L + l);
            x.effective[k * L + l] = sum;
        }
    for (idx k = 0; k < K; k++) {
        double total = NOISE;
        for (idx j = 0; j < K; j++) {
            number sum = 0;
            for (idx l = 0; l < L; l++)
                sum += x.effective[k * L + l] * at_c(digital, l * K + j);
            x.received[k * K + j] = sum;
            total += cabs(sum) * cabs(sum);
        }
        const double signal = cabs(x.received[k * K + k]) * cabs(x.received[k * K + k]);
        x.ratio[k] = signal / (total - signal);
        x.rate += weights[k] * log2(1 + x.ratio[k]);
        for (idx j = 0; j < K; j++)
            x.adjoint[k * K + j] = weights[k] / total * x.received[k * K + j] *
                                   (j == k ? 1 : -x.ratio[k]) * 2 / log(2);
    }
    return x;
}

static number d_digital_of(link x, idx l, idx j) {
    number sum = 0;
    for (idx k = 0; k < shape.users; k++)
        sum += conj(x.effective[k * shape.feeds + l]) * x.adjoint[k * shape.users + j];
    return sum;
}

/* Re sum_k conj(H_kn) (C V^H Phi^H)_kn. */
static double d_amplitude_of(link x, const void *channel, const void *phase, const void *digital,
                             idx n) {
    double sum = 0;
    for (idx j = 0; j < shape.users; j++) {
        number beam = 0, pulled = 0;
        for (idx l = 0; l < shape.feeds; l++)
            beam += at_c(phase, n * shape.feeds + l) * at_c(digital, l * shape.users + j);
        for (idx k = 0; k < shape.users; k++)
            pulled += conj(at_c(channel, k * shape.elements + n)) * x.adjoint[k * shape.users + j];
        sum += creal(pulled * conj(beam));
    }
    return sum;
}

static void check_links(void) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds, B = shape.batch;
    const hf_operand channel = random_complex(K * N, variant == 2);
    const hf_operand m = random_reals(N, variant == 1, 1);
    const hf_operand phase = random_complex(N * L, variant == 1);
    const hf_operand digital = random_complex(L * K, variant == 1);
    const hf_operand noise = doubles(1, NOISE, NOISE), weights = doubles(K, 0.5, 1.5);
    spoil(channel, K, N);
    void *effective = reals(2 * B * K * L), *ratio = reals(B * K), *rate = reals(B);
    void *rate_again = reals(B), *d_m = reals(B * N), *d_v = reals(2 * B * L * K);
    returned(hf_effective_channel(kernels, &shape, channel, m, phase, effective), "effective_channel");
    returned(hf_sinr(kernels, &shape, channel, m, phase, digital, noise, ratio), "sinr");
    returned(hf_sum_rate(kernels, &shape, channel, m, phase, digital, noise, weights, rate),
             "sum_rate");
    returned(hf_sum_rate_gradient(kernels, &shape, channel, m, phase, digital, noise, weights,
                                        rate_again, d_m, d_v),
             "sum_rate_gradient");
    const int marked = used;
    for (idx b = 0; b < B; b++) {
        const void *h = item(channel, b), *phi = item(phase, b), *v = item(digital, b);
        const link x = define(h, item(m, b), phi, v, weights.data);
        if (is_bad(channel, b)) {
            expect(!all_finite(effective, 2 * b * K * L, 2 * K * L, 1), "effective_channel", b,
                   "finite though the channel is not");
            expect(isnan(at(rate, b)), "sum_rate", b, "a number though the channel is bad");
            expect(isnan(at(rate_again, b)), "sum_rate_gradient", b,
                   "a number though the channel is bad");
        } else {
            const double scale = (double)N * sqrt((double)(K * L));
            for (idx i = 0; i < K * L; i++)
                expect(near(at_c(effective, b * K * L + i), x.effective[i], (double)N),
                       "effective_channel", b, "off the definition");
            for (idx k = 0; k < K; k++)
                expect(near(at(ratio, b * K + k), x.ratio[k], 1 + x.ratio[k] * scale), "sinr", b,
                       "off the definition");
            expect(near(at(rate, b), x.rate, 1 + fabs(x.rate)), "sum_rate", b,
                   "off the definition");
            expect(near(at(rate_again, b), x.rate, 1 + fabs(x.rate)), "sum_rate_gradient", b,
                   "rate off the definition");
            for (idx n = 0; n < N; n++)
                expect(near(at(d_m, b * N + n), d_amplitude_of(x, h, phi, v, n), scale),
                       "sum_rate_gradient", b, "d_amplitudes off the definition");
            for (idx i = 0; i < L * K; i++)
                expect(near(at_c(d_v, b * L * K + i), d_digital_of(x, i / K, i % K), scale),
                       "sum_rate_gradient", b, "d_digital off the definition");
        }
        while (used > marked)
            free(blocks[--used]);
    }
    release();
}

/* ---------------------------------------------------------------- precoders */

/* G (K x M) here is users x elements. */
static void check_precoders(void) {
    const idx K = shape.users, M = shape.elements, B = shape.batch;
    const hf_operand effective = random_complex(K * M, variant == 2);
    const hf_operand power = doubles(1, POWER, POWER), noise = doubles(1, NOISE, NOISE);
    const hf_operand weights = doubles(K, 0.5, 1.5);
    spoil(effective, K, M);
    void *forced = reals(2 * B * M * K), *swept = reals(2 * B * M * K);
    int64_t *rank = array(B, sizeof(int64_t));
    returned(hf_zero_forcing(kernels, &shape, effective, power, forced, rank), "zero_forcing");
    returned(hf_wmmse(kernels, &shape, effective, power, noise, weights, 3, swept), "wmmse");
    for (idx b = 0; b < B; b++) {
        const idx start = 2 * b * M * K, size = 2 * M * K;
        if (is_bad(effective, b)) {
            expect(all_finite(forced, start, size, 0), "zero_forcing", b, "bad item: a number");
            expect(all_finite(swept, start, size, 0), "wmmse", b, "bad item: a number");
            continue;
        }
        const int silent = kind(effective, b) == ZERO;
        const idx full = kind(effective, b) == DEPENDENT && K > 1 ? K - 1 : K;
        expect(rank[b] == (silent ? 0 : full < M ? full : M), "zero_forcing", b, "wrong rank");
        const double spent_forced = squared(forced, start, size);
        const double spent_swept = squared(swept, start, size);
        expect(silent ? spent_forced == 0 : is_power(spent_forced), "zero_forcing", b,
               "off the power");
        expect(silent ? spent_swept == 0 : is_power(spent_swept), "wmmse", b, "off the power");
        for (idx k = 0; rank[b] == K && k < K; k++)
            for (idx j = 0; j < K; j++) {
                number sum = 0, own = 0;
                for (idx i = 0; i < M; i++) {
                    const number g = at_c(item(effective, b), k * M + i);
                    sum += g * at_c(forced, b * M * K + i * K + j);
                    own += g * at_c(forced, b * M * K + i * K + k);
                }
                expect(j == k || cabs(sum) <= 1e-2 * cabs(own), "zero_forcing", b,
                       "users interfere");
            }
    }
    release();
}

static void check_water_filling(void) {
    const idx K = shape.users;
    const double powers[] = {0.5, 5, 1e4}, floors[] = {0, 0, 1, 20};
    for (int i = 0; i < COUNT(floors); i++) {
        hf_shape one = shape;
        one.batch = COUNT(powers);
        const hf_operand cost = doubles(K, 0.5, 2), noise = doubles(1, NOISE, NOISE);
        const hf_operand weights = doubles(K, 0, 1), floor = doubles(K, floors[i], floors[i]);
        double *power = array(COUNT(powers), sizeof(double));
        memcpy(power, powers, sizeof powers);
        double *received = array(one.batch * K, sizeof(double));
        uint8_t *feasible = array(one.batch, 1);
        returned(hf_water_filling(kernels, &one, cost, (hf_operand){power, sizeof(double)}, noise,
                                        weights, floor, received, feasible),
                 "water_filling");
        for (idx b = 0; b < one.batch; b++) {
            double spent = 0, needed = 0;
            for (idx k = 0; k < K; k++) {
                const double least = (exp2(floors[i]) - 1) * NOISE, q = received[b * K + k];
                spent += q * ((const double *)cost.data)[k];
                needed += least * ((const double *)cost.data)[k];
                expect(!feasible[b] || q >= least * (1 - 1e-12), "water_filling", b,
                       "under a floor");
            }
            expect(fabs(spent - power[b]) <= 1e-9 * power[b], "water_filling", b,
                   "off the power");
            expect(feasible[b] == (needed <= power[b]), "water_filling", b,
                   "feasible though it is not, or the other way");
        }
        release();
    }
}

static void check_project(void) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds, B = shape.batch;
    const hf_operand m = random_reals(N, variant != 0, 1);
    const hf_operand phase = random_complex(N * L, variant == 1);
    const hf_operand precoder = random_complex(N * K, variant == 2);
    const hf_operand power = doubles(1, POWER, POWER);
    spoil(phase, N, L);
    spoil(precoder, N, K);
    void *digital = reals(2 * B * L * K);
    for (int radiated = 0; radiated < 2; radiated++) {
        returned(hf_project(kernels, &shape, m, phase, precoder, power, radiated, digital), "project");
        for (idx b = 0; b < B; b++) {
            const idx start = 2 * b * L * K, size = 2 * L * K;
            if (is_bad(phase, b) || is_bad(precoder, b)) {
                expect(all_finite(digital, start, size, 0), "project", b, "bad item: a number");
                continue;
            }
            const char *v = (const char *)digital + start * (idx)real_size();
            const double spent = radiated ? radiated_power(item(m, b), item(phase, b), v)
                                          : squared(digital, start, size);
            const int silent = kind(phase, b) == ZERO || kind(precoder, b) == ZERO;
            expect(silent ? squared(digital, start, size) == 0 : is_power(spent), "project", b,
                   "off the power");
        }
    }
    release();
}

static void check_outside_unit(void) {
    for (idx count = 1; count <= 70; count++) {
        void *values = reals(count);
        const double probes[] = {-1e-6, 1.001, INFINITY, -INFINITY, NAN, 0, 1};
        const double *probe = probes + count % COUNT(probes);
        for (idx i = 0; i < count; i++)
            put(values, i, 0.5);
        for (idx i = 0; i < count; i++) {
            put(values, i, *probe);
            cases++;
            expect(kernels->outside_unit(shape.single, count, values) == (*probe < 0 || *probe > 1),
                   "outside_unit", i, "missed, or saw what is not there");
            put(values, i, i % 2);
        }
        release();
    }
}

/* ---------------------------------------------------------------- solves */

/* A problem of the loops, and what they return. */
typedef struct {
    hf_operand channel, amplitudes, phase, power, noise_power, weights;
    int radiated;
} problem;

typedef struct {
    void *amplitudes, *digital;
    double *sum_rate;
    int64_t *iterations;
    uint8_t *converged;
    double *history;
} solved;

#define GIVEN(p) p.channel, p.amplitudes, p.phase, p.power, p.noise_power, p.weights
#define RESULTS(s) s.amplitudes, s.digital, s.sum_rate, s.iterations, s.converged, s.history

static problem random_problem(idx channels, idx phases, int radiated) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds;
    const problem p = {
        random_complex(channels * K * N, variant == 2),
        random_reals(N, variant == 1, 1),
        random_complex(phases * N * L, variant == 1),
        doubles(1, POWER, POWER),
        doubles(1, NOISE, NOISE),
        doubles(K, 0.5, 1.5),
        radiated,
    };
    spoil(p.channel, channels * K, N);
    return p;
}

/* Power of the beams of channel f of item b at these amplitudes. */
static double spent_by(problem given, const void *amplitudes, const void *digital, idx b, idx f) {
    const idx N = shape.elements, size = 2 * shape.feeds * shape.users;
    const idx start = (b * shape.channels + f) * size;
    const idx own = shape.phases > 1 ? 2 * f * N * shape.feeds : 0;
    const char *phi = (const char *)item(given.phase, b) + own * (idx)real_size();
    const char *v = (const char *)digital + start * (idx)real_size();
    return given.radiated ? radiated_power(amplitudes, phi, v) : squared(digital, start, size);
}

/* Rates and beams of a solve; `m` are the amplitudes of the items, one after another or shared. */
static void check_beams(const char *kernel, problem given, hf_operand m, const void *digital,
                        const double *sum_rate, int floored) {
    const idx size = 2 * shape.feeds * shape.users, F = shape.channels;
    for (idx b = 0; b < shape.batch; b++) {
        if (is_bad(given.channel, b)) {
            expect(isnan(sum_rate[b]), kernel, b, "solved though the channel is bad");
            expect(all_finite(digital, b * F * size, F * size, 0), kernel, b,
                   "bad item: a number");
            continue;
        }
        const int silent = kind(given.channel, b) == ZERO;
        const double rate = sum_rate[b]; /* below 0 where minimum rates are not met */
        expect(floored  ? !isnan(rate) && (rate <= 0 || !silent)
               : silent ? rate == 0
                        : rate > 0,
               kernel, b, "no rate");
        for (idx f = 0; f < F; f++) {
            const double spent = spent_by(given, item(m, b), digital, b, f);
            /* the ridge that guards S when feeds outnumber radiating elements costs digits */
            expect(silent ? spent == 0 : fabs(spent - POWER) <= 1e-3 * POWER, kernel, b,
                   "off the power");
        }
    }
}

static void check_solved(const char *kernel, problem given, solved got, int64_t most,
                         int floored) {
    const idx N = shape.elements;
    const hf_operand m = {got.amplitudes, N * (idx)real_size()};
    check_beams(kernel, given, m, got.digital, got.sum_rate, floored);
    for (idx b = 0; b < shape.batch; b++) {
        const double *history = got.history + b * shape.recorded;
        if (is_bad(given.channel, b)) {
            expect(!got.converged[b] && all_finite(got.amplitudes, b * N, N, 0) &&
                       isnan(history[0]),
                   kernel, b, "bad item: a number");
            continue;
        }
        expect(got.iterations[b] >= 0 && got.iterations[b] <= most && got.converged[b] <= 1,
               kernel, b, "more iterations than allowed");
        for (idx n = b * N; n < (b + 1) * N; n++)
            expect(at(got.amplitudes, n) >= 0 && at(got.amplitudes, n) <= 1, kernel, b,
                   "amplitudes outside the box");
    }
}

/* The largest number of an objective. */
#define OBJECTIVES 4

static void check_solves(int radiated) {
    enum { FIRST = 2, SECOND = 3, STEPS = 4 };
    const idx B = shape.batch, K = shape.users, N = shape.elements, L = shape.feeds;
    const idx F = shape.channels;
    const problem given = random_problem(F, shape.phases, radiated);
    /* as few rates as one, and as many as there may be */
    shape.recorded = variant ? FIRST + SECOND + 1 : 1;
    const solved got = {
        reals(B * N),
        reals(2 * B * F * L * K),
        array(B, sizeof(double)),
        array(B, sizeof(int64_t)),
        array(B, 1),
        array(B * shape.recorded, sizeof(double)),
    };
    const hf_operand floors = doubles(K, 0, variant ? 2 : 0);
    const hf_operand overhead = doubles(1, 1, 2), movable = flags(N), split = doubles(F * K, 0, 1);
    const hf_operand none = {NULL, 0};
    for (int objective = OBJECTIVES; objective >= 0; objective--)
        returned(hf_variable_projection(kernels, &shape, GIVEN(given), floors, split, movable,
                                        overhead, none, radiated, FIRST, SECOND, 2, 1 + variant % 2,
                                        2, 1e-9, 0, objective, 1, RESULTS(got)),
                 "variable_projection");
    check_solved("variable_projection", given, got, FIRST + SECOND, variant);
    returned(hf_alternating(kernels, &shape, GIVEN(given), movable, radiated, variant == 2, 0.05, 2,
                            1e-9, STEPS, 0, RESULTS(got)),
             "alternating");
    check_solved("alternating", given, got, STEPS, 0);
    const int zero_forced = K <= L && variant != 1;
    returned(hf_coordinate_descent(kernels, &shape, GIVEN(given), movable, none, radiated, zero_forced,
                                   1e-9, STEPS, 0, RESULTS(got)),
             "coordinate_descent");
    check_solved("coordinate_descent", given, got, STEPS, 0);
    for (int general = 0; general < 2; general++) {
        returned(hf_best_beams(kernels, &shape, GIVEN(given), floors, split, none, radiated, general, 2,
                               got.digital, got.sum_rate),
                 "best_beams");
        check_beams("best_beams", given, given.amplitudes, got.digital, got.sum_rate, variant);
    }
    const int stop = 1;
    shape.stop = &stop;
    const int status = hf_coordinate_descent(kernels, &shape, GIVEN(given), movable, none, radiated, 0, 0,
                                             STEPS, 0, RESULTS(got));
    expect(status == HF_STOPPED, "coordinate_descent", -1, "went on though told to stop");
    expect(live == 0, "coordinate_descent", -1, "kept memory");
    shape.stop = NULL;
    release();
}

/* Limits of the feeds: the loops keep to them. */
static void check_feed_limits(int radiated) {
    enum { STEPS = 3 };
    const idx B = shape.batch, F = shape.channels, K = shape.users, N = shape.elements;
    const idx L = shape.feeds;
    const problem given = random_problem(F, shape.phases, radiated);
    const hf_operand none = {NULL, 0}, limits = doubles(L, 0.01, 0.1);
    shape.recorded = 1;
    const solved got = {
        reals(B * N),
        reals(2 * B * F * L * K),
        array(B, sizeof(double)),
        array(B, sizeof(int64_t)),
        array(B, 1),
        array(B, sizeof(double)),
    };
    for (int loop = 0; loop < 3; loop++) {
        if (loop == 0)
            returned(hf_variable_projection(kernels, &shape, GIVEN(given), none, none, none, none,
                                            limits, radiated, STEPS, STEPS, 2, 1, 2, 1e-9, 0, 0,
                                            variant == 1, RESULTS(got)),
                     "variable_projection");
        else if (loop == 1)
            returned(hf_coordinate_descent(kernels, &shape, GIVEN(given), none, limits, radiated, 0,
                                           1e-9, STEPS, 0, RESULTS(got)),
                     "coordinate_descent");
        else
            returned(hf_best_beams(kernels, &shape, GIVEN(given), none, none, limits, radiated, 1, 2,
                                   got.digital, got.sum_rate),
                     "best_beams");
        for (idx b = 0; b < B; b++) {
            if (is_bad(given.channel, b) || kind(given.channel, b) == ZERO)
                continue;
            expect(got.sum_rate[b] > 0, "feed limits", b, "no rate");
            for (idx row = b * F * L; row < (b + 1) * F * L; row++) {
                double spent = 0;
                for (idx i = row * 2 * K; i < (row + 1) * 2 * K; i++)
                    spent += at(got.digital, i) * at(got.digital, i);
                expect(spent <= ((const double *)limits.data)[row % L] * (1 + 1e-6), "feed limits",
                       b, "more than a feed may have");
            }
        }
    }
    release();
}

/* Elements on a circle: the loops keep to it. */
static void check_circles(int radiated) {
    enum { STEPS = 3 };
    const double centres[] = {0, 0.5, 0}, radii[] = {0, 0.5, 1}; /* centres on the imaginary axis */
    const idx B = shape.batch, K = shape.users, N = shape.elements, L = shape.feeds;
    problem given = random_problem(shape.channels, shape.phases, radiated);
    const hf_operand floors = doubles(K, 0, variant ? 2 : 0), overhead = doubles(1, 0, 0);
    const hf_operand all = {NULL, 0}, split = {NULL, 0};
    shape.recorded = 1;
    shape.turned = 1;
    for (int element = 1; element < 3; element++) {
        given.amplitudes = random_complex(N, 0);
        const solved got = {
            reals(2 * B * N),
            reals(2 * B * shape.channels * L * K),
            array(B, sizeof(double)),
            array(B, sizeof(int64_t)),
            array(B, 1),
            array(B, sizeof(double)),
        };
        for (int loop = 0; loop < 3; loop++) {
            if (loop == 0)
                returned(hf_variable_projection(kernels, &shape, GIVEN(given), floors, split, all,
                                                overhead, all, radiated, STEPS, STEPS, 2, 1, 2,
                                                1e-9, element, 0, 0, RESULTS(got)),
                         "variable_projection");
            else if (loop == 1)
                returned(hf_alternating(kernels, &shape, GIVEN(given), all, radiated, variant == 2,
                                        0.05, 2, 1e-9, STEPS, element, RESULTS(got)),
                         "alternating");
            else
                returned(hf_coordinate_descent(kernels, &shape, GIVEN(given), all, all, radiated, 0,
                                               1e-9, STEPS, element, RESULTS(got)),
                         "coordinate_descent");
            for (idx b = 0; b < B; b++)
                for (idx n = b * N; n < (b + 1) * N && !is_bad(given.channel, b); n++) {
                    const double re = at(got.amplitudes, 2 * n);
                    const double im = at(got.amplitudes, 2 * n + 1) - centres[element];
                    expect(fabs(hypot(re, im) - radii[element]) < 1e-6, "a loop", b,
                           "an element off its circle");
                }
        }
    }
    shape.turned = 0;
    release();
}

static void check_wmmse_gradient(int radiated) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds, B = shape.batch;
    const problem given = random_problem(1, 1, radiated);
    const hf_operand digital = random_complex(L * K, variant == 2);
    double *rate = array(B, sizeof(double));
    void *beams = reals(2 * B * L * K), *d_m = reals(B * N);
    returned(hf_wmmse_gradient(kernels, &shape, given.channel, given.amplitudes, given.phase,
                               digital, given.power, given.noise_power, given.weights, radiated,
                               variant, rate, beams, d_m),
             "wmmse_gradient");
    const int marked = used;
    for (idx b = 0; b < B; b++) {
        if (is_bad(given.channel, b)) {
            expect(isnan(rate[b]) && all_finite(beams, 2 * b * L * K, 2 * L * K, 0) &&
                       all_finite(d_m, b * N, N, 0),
                   "wmmse_gradient", b, "bad item: a number");
            continue;
        }
        const void *h = item(given.channel, b), *m = item(given.amplitudes, b);
        const void *phi = item(given.phase, b);
        const char *v = (const char *)beams + 2 * b * L * K * (idx)real_size();
        const double spent = spent_by(given, m, beams, b, 0);
        expect(fabs(spent - POWER) <= 1e-3 * POWER, "wmmse_gradient", b, "off the power");
        const link x = define(h, m, phi, v, given.weights.data);
        expect(fabs(rate[b] - x.rate) <= 2e-3 * (1 + x.rate), "wmmse_gradient", b,
               "rate off the definition");
        const double scale = (double)N * sqrt((double)(K * L));
        for (idx n = 0; !radiated && n < N; n++)
            expect(near(at(d_m, b * N + n), d_amplitude_of(x, h, phi, v, n), scale),
                   "wmmse_gradient", b, "d_amplitudes off the definition");
        while (used > marked)
            free(blocks[--used]);
    }
    release();
}

static void check_spectral_ascent(int radiated) {
    const idx K = shape.users, N = shape.elements, L = shape.feeds, B = shape.batch;
    const problem given = random_problem(1, 1, radiated);
    const hf_operand digital = random_complex(L * K, variant == 2);
    const hf_operand change = random_reals(N, 0, 0), slope = random_reals(N, variant == 1, 0);
    double *rate = array(B, sizeof(double)), *length = array(B, sizeof(double));
    void *beams = reals(2 * B * L * K), *real[6];
    for (int i = 0; i < 6; i++)
        real[i] = reals(B * N);
    returned(hf_spectral_ascent(kernels, &shape, given.channel, given.amplitudes, given.phase,
                                digital, given.power, given.noise_power, given.weights, change,
                                slope, radiated, 2, variant, rate, beams, real[0], real[1], real[2],
                                real[3], real[4], real[5], length),
             "spectral_ascent");
    for (idx b = 0; b < B; b++) {
        if (is_bad(given.channel, b)) {
            expect(isnan(rate[b]) && isnan(length[b]) && all_finite(real[5], b * N, N, 0),
                   "spectral_ascent", b, "bad item: a number");
            continue;
        }
        const void *end = (const char *)real[0] + b * N * (idx)real_size();
        const double spent = spent_by(given, end, beams, b, 0);
        expect(fabs(spent - POWER) <= 1e-3 * POWER, "spectral_ascent", b, "off the power");
        double longest = 0, largest = 0;
        for (idx n = 0; n < N; n++) {
            const double m = at(real[0], b * N + n), step = fabs(at(real[5], b * N + n));
            expect(m >= 0 && m <= 1, "spectral_ascent", b, "an amplitude outside the box");
            longest = fmax(longest, step);
            largest = fmax(largest, fabs(at(real[3], b * N + n)));
        }
        expect(largest == 0 || fabs(longest - length[b]) <= 1e-4 * length[b], "spectral_ascent", b,
               "a step not of its length");
    }
    release();
}

/* ---------------------------------------------------------------- refusals */

static hf_shape of_sizes(int single, idx users, idx elements, idx feeds) {
    return (hf_shape){single, 0, ITEMS, ITEMS, users, elements, feeds, 1, 1, 1, 1, NULL};
}

/* The sizes that an operator reads. */
static const char *sizes_of(int place) {
    switch (place) {
    case HF_WATER_FILLING: return "K";
    case HF_ZERO_FORCING:
    case HF_WMMSE: return "KN";
    case HF_BEST_BEAMS:
    case HF_ALTERNATING:
    case HF_VARIABLE_PROJECTION:
    case HF_COORDINATE_DESCENT: return "KNLFG";
    default: return "KNL";
    }
}

static int call(int place) {
    static const hf_operand none[16];
    static const double ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static void *const nowhere[16];
    return kernels->operators[place](&shape, none, ones, nowhere);
}

/* Sizes whose products would overflow, and memory that is not there: a status, nothing read or
 * written, nothing kept. */
static void check_refusals(void) {
    const idx huge[] = {(idx)1 << 31, (idx)1 << 40, (idx)1 << 61, PTRDIFF_MAX};
    for (int single = 0; single < 2; single++)
        for (int i = 0; i < HF_OPERATORS; i++) {
            char name[32];
            snprintf(name, sizeof name, "operator %d", i);
            for (const char *size = sizes_of(i); *size; size++)
                for (int j = 0; j < COUNT(huge); j++) {
                    shape = of_sizes(single, 2, 3, 2);
                    *(*size == 'K'   ? &shape.users
                      : *size == 'N' ? &shape.elements
                      : *size == 'L' ? &shape.feeds
                      : *size == 'F' ? &shape.channels
                                     : &shape.phases) = huge[j];
                    cases++;
                    expect(call(i) == HF_TOO_LARGE, name, -1, "took a size that overflows");
                }
            if (i != HF_WATER_FILLING) {
                shape = of_sizes(single, (idx)1 << 23, (idx)1 << 23, 1);
                expect(call(i) == HF_TOO_LARGE, name, -1, "took sizes whose product overflows");
            }
            shape = of_sizes(single, 2, 3, 2);
            shape.batch = shape.whole = 0;
            int status = HF_NO_MEMORY;
            for (int j = 0; status != HF_OK && j < 100; j++) {
                allocations_left = j;
                cases++;
                status = call(i);
                expect(status == HF_NO_MEMORY || status == HF_OK, name, -1,
                       "said something else of missing memory");
                expect(live == 0, name, -1, "kept memory");
            }
            expect(status == HF_OK, name, -1, "never had enough memory");
            allocations_left = -1;
        }
}

/* ---------------------------------------------------------------- sizes */

static void check_sizes(void) {
    static const idx users[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17};
    static const idx elements[] = {1,  2,  3,  5,  7,  8,  9,  15, 16,
                                   17, 31, 33, 36, 63, 65, 130, 300};
    static const idx feeds[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13};
    int turn = 0;
    for (int k = 0; k < COUNT(users); k++)
        for (int n = 0; n < COUNT(elements); n++)
            for (int l = 0; l < COUNT(feeds); l++, turn++) {
                shape = of_sizes(turn & 1, users[k], elements[n], feeds[l]);
                variant = turn / 2 % 3;
                check_links();
                if (turn % 3)
                    continue;
                check_project();
                check_wmmse_gradient(turn / 3 % 2);
                check_spectral_ascent(turn / 3 % 2);
                shape.channels = 1 + turn / 3 % 3;
                shape.phases = turn / 9 % 2 ? shape.channels : 1;
                shape.batch = shape.whole = elements[n] > 40 || users[k] > 8 ? ZERO : ITEMS;
                check_solves(turn / 18 % 2);
                check_feed_limits(turn / 18 % 2);
                check_circles(turn / 18 % 2);
            }
    for (turn = 0; turn < 6; turn++) {
        variant = turn % 3;
        for (int k = 0; k < COUNT(users); k++) {
            for (int n = 0; n < COUNT(elements); n++) {
                shape = of_sizes(turn & 1, users[k], elements[n], 1);
                check_precoders();
            }
            if (variant == 0)
                check_water_filling();
        }
    }
    for (turn = 0; turn < 2; turn++) {
        shape.single = turn;
        check_outside_unit();
    }
}

int main(int count, char **arguments) {
    const char *level = count > 1 ? arguments[1] : "baseline";
    kernels = hf_kernels_of(level);
    if (!kernels) {
        printf("%s: this processor or build has no such level\n", level);
        return 77;
    }
    if (strcmp(kernels->level, level) || hf_kernels_of("none"))
        return 1;
    check_refusals();
    check_sizes();
    printf("%s: %ld cases, %d failures\n", level, cases, failures);
    return failures > 0;
}
