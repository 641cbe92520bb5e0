/* Chooses the instruction-set level once, by function pointers; the kernels on one item. */
#include "hmimo_fast.h"

#include <stdlib.h>
#include <string.h>

extern const hf_table hf_table_baseline;
#ifdef HF_HAVE_V3
extern const hf_table hf_table_v3;
#endif
#ifdef HF_HAVE_V4
extern const hf_table hf_table_v4;
#endif

const hf_table *hf_kernels_of(const char *level) {
#ifdef HF_HAVE_V4
    if (!strcmp(level, "v4"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl")
                   ? &hf_table_v4
                   : NULL;
#endif
#ifdef HF_HAVE_V3
    if (!strcmp(level, "v3"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                       __builtin_cpu_supports("bmi2")
                   ? &hf_table_v3
                   : NULL;
#endif
    return strcmp(level, "baseline") ? NULL : &hf_table_baseline;
}

int hf_abi(void) { return HF_ABI; }

const hf_table *hf_kernels(void) {
    static const hf_table *chosen;
    const hf_table *table = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (table)
        return table;
    const char *levels[] = {getenv("HMIMO_FAST_ISA"), "v4", "v3", "baseline"};
    for (int i = 0; !table; i++)
        if (levels[i])
            table = hf_kernels_of(levels[i]);
    __atomic_store_n(&chosen, table, __ATOMIC_RELAXED);
    return table;
}

/* The kernels on one item behind plain arguments, for callers that have no C structs (Numba):
 * sizes, inputs, options and outputs in the order of the table; powers by value. */
#define SIZES \
    int64_t single, int64_t users, int64_t elements, int64_t feeds, int64_t channels, int64_t phases
#define LINK const void *channel, const void *amplitudes, const void *phase
#define SHAPE ((hf_shape){(int)single, 1, users, elements, feeds, channels, phases})
#define AT(pointer) ((hf_operand){pointer, 0})

static int item_effective_channel(SIZES, LINK, void *effective) {
    return hf_kernels()->effective_channel(SHAPE, AT(channel), AT(amplitudes), AT(phase),
                                           effective);
}

static int item_sinr(SIZES, LINK, const void *digital, double noise_power, void *sinr) {
    return hf_kernels()->sinr(SHAPE, AT(channel), AT(amplitudes), AT(phase), AT(digital),
                              AT(&noise_power), sinr);
}

static int item_sum_rate(SIZES, LINK, const void *digital, double noise_power,
                         const double *weights, void *rate) {
    return hf_kernels()->sum_rate(SHAPE, AT(channel), AT(amplitudes), AT(phase), AT(digital),
                                  AT(&noise_power), AT(weights), rate);
}

static int item_sum_rate_gradient(SIZES, LINK, const void *digital, double noise_power,
                                  const double *weights, void *rate, void *d_amplitudes,
                                  void *d_digital) {
    return hf_kernels()->sum_rate_gradient(SHAPE, AT(channel), AT(amplitudes), AT(phase),
                                           AT(digital), AT(&noise_power), AT(weights), rate,
                                           d_amplitudes, d_digital);
}

static int item_zero_forcing(SIZES, const void *effective, double power, void *precoder,
                             int64_t *rank) {
    return hf_kernels()->zero_forcing(SHAPE, AT(effective), AT(&power), precoder, rank);
}

static int item_wmmse(SIZES, const void *effective, double power, double noise_power,
                      const double *weights, int64_t iterations, void *precoder) {
    return hf_kernels()->wmmse(SHAPE, AT(effective), AT(&power), AT(&noise_power), AT(weights),
                               iterations, precoder);
}

static int item_water_filling(SIZES, const double *cost, double power, double noise_power,
                              const double *weights, const double *min_rate, double *received,
                              uint8_t *feasible) {
    return hf_kernels()->water_filling(SHAPE, AT(cost), AT(&power), AT(&noise_power), AT(weights),
                                       AT(min_rate), received, feasible);
}

static int item_project(SIZES, const void *amplitudes, const void *phase, const void *precoder,
                        double power, int64_t radiated, void *digital) {
    return hf_kernels()->project(SHAPE, AT(amplitudes), AT(phase), AT(precoder), AT(&power),
                                 (int)radiated, digital);
}

#define LIMITS LINK, double power, double noise_power, const double *weights
#define PROBLEM LIMITS, int64_t radiated
#define GIVEN                                                                               \
    ((hf_problem){AT(channel), AT(amplitudes), AT(phase), AT(&power), AT(&noise_power),     \
                  AT(weights), (int)radiated})
#define SOLVED                                                                              \
    void *to_amplitudes, void *digital, double *sum_rate, int64_t *made, uint8_t *converged, \
        double *history
#define RESULT ((hf_solved){to_amplitudes, digital, sum_rate, made, converged, history})

static int item_alternating(SIZES, PROBLEM, int64_t backtracking, double step, int64_t inner,
                            double tolerance, int64_t iterations, SOLVED) {
    return hf_kernels()->alternating(SHAPE, GIVEN, (int)backtracking, step, inner, tolerance,
                                     iterations, RESULT);
}

static int item_variable_projection(SIZES, LIMITS, const double *min_rate, int64_t radiated,
                                    int64_t zf_iterations, int64_t iterations, int64_t candidates,
                                    int64_t sweeps, double tolerance, SOLVED) {
    return hf_kernels()->variable_projection(SHAPE, GIVEN, AT(min_rate), zf_iterations, iterations,
                                             candidates, sweeps, tolerance, RESULT);
}

static int item_coordinate_descent(SIZES, PROBLEM, int64_t zero_forced, double tolerance,
                                   int64_t iterations, SOLVED) {
    return hf_kernels()->coordinate_descent(SHAPE, GIVEN, (int)zero_forced, tolerance, iterations,
                                            RESULT);
}

static int item_wmmse_gradient(SIZES, LINK, const void *digital, double power, double noise_power,
                               const double *weights, int64_t radiated, int64_t sweeps,
                               double *sum_rate, void *to_digital, void *d_amplitudes) {
    return hf_kernels()->wmmse_gradient(SHAPE, GIVEN, AT(digital), sweeps, sum_rate, to_digital,
                                        d_amplitudes);
}

hf_function hf_item_kernel(const char *name) {
#define KERNEL(name) {#name, (hf_function)item_##name}
    static const struct {
        const char *name;
        hf_function function;
    } kernels[] = {
        KERNEL(effective_channel), KERNEL(sinr),          KERNEL(sum_rate),
        KERNEL(sum_rate_gradient), KERNEL(zero_forcing),  KERNEL(wmmse),
        KERNEL(water_filling),     KERNEL(project),       KERNEL(alternating),
        KERNEL(variable_projection), KERNEL(coordinate_descent), KERNEL(wmmse_gradient),
    };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(kernels[i].name, name))
            return kernels[i].function;
    return NULL;
}
