/* A function with named arguments for each operator of hmimo_fast.h: the table of kernels, the
 * shape, inputs, options and outputs.  Written by csrc/typed.py. */
#ifndef HMIMO_FAST_TYPED_H
#define HMIMO_FAST_TYPED_H

#include "hmimo_fast.h"

static inline int hf_effective_channel(const hf_table *kernels, const hf_shape *shape,
                                       hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                       void *effective_channel) {
    const hf_operand inputs[] = {channel, amplitudes, phase};
    void *const outputs[] = {effective_channel};
    return kernels->operators[HF_EFFECTIVE_CHANNEL](shape, inputs, NULL, outputs);
}

static inline int hf_sinr(const hf_table *kernels, const hf_shape *shape, hf_operand channel,
                          hf_operand amplitudes, hf_operand phase, hf_operand digital,
                          hf_operand noise_power, void *sinr) {
    const hf_operand inputs[] = {channel, amplitudes, phase, digital, noise_power};
    void *const outputs[] = {sinr};
    return kernels->operators[HF_SINR](shape, inputs, NULL, outputs);
}

static inline int hf_sum_rate(const hf_table *kernels, const hf_shape *shape, hf_operand channel,
                              hf_operand amplitudes, hf_operand phase, hf_operand digital,
                              hf_operand noise_power, hf_operand weights, void *rate) {
    const hf_operand inputs[] = {channel, amplitudes, phase, digital, noise_power, weights};
    void *const outputs[] = {rate};
    return kernels->operators[HF_SUM_RATE](shape, inputs, NULL, outputs);
}

static inline int hf_sum_rate_gradient(const hf_table *kernels, const hf_shape *shape,
                                       hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                       hf_operand digital, hf_operand noise_power,
                                       hf_operand weights, void *rate, void *d_amplitudes,
                                       void *d_digital) {
    const hf_operand inputs[] = {channel, amplitudes, phase, digital, noise_power, weights};
    void *const outputs[] = {rate, d_amplitudes, d_digital};
    return kernels->operators[HF_SUM_RATE_GRADIENT](shape, inputs, NULL, outputs);
}

static inline int hf_zero_forcing(const hf_table *kernels, const hf_shape *shape,
                                  hf_operand effective_channel, hf_operand power, void *precoder,
                                  int64_t *rank) {
    const hf_operand inputs[] = {effective_channel, power};
    void *const outputs[] = {precoder, rank};
    return kernels->operators[HF_ZERO_FORCING](shape, inputs, NULL, outputs);
}

static inline int hf_wmmse(const hf_table *kernels, const hf_shape *shape,
                           hf_operand effective_channel, hf_operand power, hf_operand noise_power,
                           hf_operand weights, int64_t iterations, void *precoder) {
    const hf_operand inputs[] = {effective_channel, power, noise_power, weights};
    const double options[] = {(double)iterations};
    void *const outputs[] = {precoder};
    return kernels->operators[HF_WMMSE](shape, inputs, options, outputs);
}

static inline int hf_water_filling(const hf_table *kernels, const hf_shape *shape, hf_operand cost,
                                   hf_operand power, hf_operand noise_power, hf_operand weights,
                                   hf_operand min_rate, double *received, uint8_t *feasible) {
    const hf_operand inputs[] = {cost, power, noise_power, weights, min_rate};
    void *const outputs[] = {received, feasible};
    return kernels->operators[HF_WATER_FILLING](shape, inputs, NULL, outputs);
}

static inline int hf_project(const hf_table *kernels, const hf_shape *shape, hf_operand amplitudes,
                             hf_operand phase, hf_operand precoder, hf_operand power, int radiated,
                             void *digital) {
    const hf_operand inputs[] = {amplitudes, phase, precoder, power};
    const double options[] = {(double)radiated};
    void *const outputs[] = {digital};
    return kernels->operators[HF_PROJECT](shape, inputs, options, outputs);
}

static inline int hf_best_beams(const hf_table *kernels, const hf_shape *shape, hf_operand channel,
                                hf_operand amplitudes, hf_operand phase, hf_operand power,
                                hf_operand noise_power, hf_operand weights, hf_operand min_rate,
                                hf_operand split, hf_operand feed_power, int radiated, int general,
                                int64_t sweeps, void *digital, double *sum_rate) {
    const hf_operand inputs[] = {channel, amplitudes, phase, power, noise_power, weights, min_rate,
                                 split, feed_power};
    const double options[] = {(double)radiated, (double)general, (double)sweeps};
    void *const outputs[] = {digital, sum_rate};
    return kernels->operators[HF_BEST_BEAMS](shape, inputs, options, outputs);
}

static inline int hf_alternating(const hf_table *kernels, const hf_shape *shape,
                                 hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                 hf_operand power, hf_operand noise_power, hf_operand weights,
                                 hf_operand movable, int radiated, int backtracking, double step,
                                 int64_t inner, double tolerance, int64_t iterations,
                                 int64_t element, void *to_amplitudes, void *digital,
                                 double *sum_rate, int64_t *to_iterations, uint8_t *converged,
                                 double *history) {
    const hf_operand inputs[] = {channel, amplitudes, phase, power, noise_power, weights, movable};
    const double options[] = {(double)radiated, (double)backtracking, step, (double)inner,
                              tolerance, (double)iterations, (double)element};
    void *const outputs[] = {to_amplitudes, digital, sum_rate, to_iterations, converged, history};
    return kernels->operators[HF_ALTERNATING](shape, inputs, options, outputs);
}

static inline int hf_variable_projection(const hf_table *kernels, const hf_shape *shape,
                                         hf_operand channel, hf_operand amplitudes,
                                         hf_operand phase, hf_operand power,
                                         hf_operand noise_power, hf_operand weights,
                                         hf_operand min_rate, hf_operand split, hf_operand movable,
                                         hf_operand overhead, hf_operand feed_power, int radiated,
                                         int64_t zf_iterations, int64_t iterations,
                                         int64_t candidates, int64_t finalists, int64_t sweeps,
                                         double tolerance, int64_t element, int64_t objective,
                                         int mixed, void *to_amplitudes, void *digital,
                                         double *sum_rate, int64_t *to_iterations,
                                         uint8_t *converged, double *history) {
    const hf_operand inputs[] = {channel, amplitudes, phase, power, noise_power, weights, min_rate,
                                 split, movable, overhead, feed_power};
    const double options[] = {(double)radiated, (double)zf_iterations, (double)iterations,
                              (double)candidates, (double)finalists, (double)sweeps, tolerance,
                              (double)element, (double)objective, (double)mixed};
    void *const outputs[] = {to_amplitudes, digital, sum_rate, to_iterations, converged, history};
    return kernels->operators[HF_VARIABLE_PROJECTION](shape, inputs, options, outputs);
}

static inline int hf_coordinate_descent(const hf_table *kernels, const hf_shape *shape,
                                        hf_operand channel, hf_operand amplitudes,
                                        hf_operand phase, hf_operand power, hf_operand noise_power,
                                        hf_operand weights, hf_operand movable,
                                        hf_operand feed_power, int radiated, int zero_forced,
                                        double tolerance, int64_t iterations, int64_t element,
                                        void *to_amplitudes, void *digital, double *sum_rate,
                                        int64_t *to_iterations, uint8_t *converged,
                                        double *history) {
    const hf_operand inputs[] = {channel, amplitudes, phase, power, noise_power, weights, movable,
                                 feed_power};
    const double options[] = {(double)radiated, (double)zero_forced, tolerance, (double)iterations,
                              (double)element};
    void *const outputs[] = {to_amplitudes, digital, sum_rate, to_iterations, converged, history};
    return kernels->operators[HF_COORDINATE_DESCENT](shape, inputs, options, outputs);
}

static inline int hf_wmmse_gradient(const hf_table *kernels, const hf_shape *shape,
                                    hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                    hf_operand digital, hf_operand power, hf_operand noise_power,
                                    hf_operand weights, int radiated, int64_t sweeps,
                                    double *sum_rate, void *to_digital, void *d_amplitudes) {
    const hf_operand inputs[] = {channel, amplitudes, phase, digital, power, noise_power, weights};
    const double options[] = {(double)radiated, (double)sweeps};
    void *const outputs[] = {sum_rate, to_digital, d_amplitudes};
    return kernels->operators[HF_WMMSE_GRADIENT](shape, inputs, options, outputs);
}

static inline int hf_max_min(const hf_table *kernels, const hf_shape *shape,
                             hf_operand effective_channel, hf_operand power,
                             hf_operand noise_power, hf_operand weights, void *precoder,
                             double *common_rate) {
    const hf_operand inputs[] = {effective_channel, power, noise_power, weights};
    void *const outputs[] = {precoder, common_rate};
    return kernels->operators[HF_MAX_MIN](shape, inputs, NULL, outputs);
}

static inline int hf_min_power(const hf_table *kernels, const hf_shape *shape,
                               hf_operand effective_channel, hf_operand noise_power,
                               hf_operand min_rate, void *precoder, double *power,
                               uint8_t *feasible) {
    const hf_operand inputs[] = {effective_channel, noise_power, min_rate};
    void *const outputs[] = {precoder, power, feasible};
    return kernels->operators[HF_MIN_POWER](shape, inputs, NULL, outputs);
}

static inline int hf_spectral_ascent(const hf_table *kernels, const hf_shape *shape,
                                     hf_operand channel, hf_operand start, hf_operand phase,
                                     hf_operand digital, hf_operand power, hf_operand noise_power,
                                     hf_operand weights, hf_operand change, hf_operand slope,
                                     int radiated, int64_t sweeps, int64_t steps, double *sum_rate,
                                     void *to_digital, void *end, void *to_change, void *to_slope,
                                     void *gradient, void *curvature, void *step, double *length) {
    const hf_operand inputs[] = {channel, start, phase, digital, power, noise_power, weights,
                                 change, slope};
    const double options[] = {(double)radiated, (double)sweeps, (double)steps};
    void *const outputs[] = {sum_rate, to_digital, end, to_change, to_slope, gradient, curvature,
                             step, length};
    return kernels->operators[HF_SPECTRAL_ASCENT](shape, inputs, options, outputs);
}

static inline int hf_state_ascent(const hf_table *kernels, const hf_shape *shape,
                                  hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                  hf_operand power, hf_operand noise_power, hf_operand weights,
                                  hf_operand movable, hf_operand states, int radiated,
                                  double tolerance, int64_t iterations, int mixed,
                                  double *sum_rate, int64_t *chosen) {
    const hf_operand inputs[] = {channel, amplitudes, phase, power, noise_power, weights, movable,
                                 states};
    const double options[] = {(double)radiated, tolerance, (double)iterations, (double)mixed};
    void *const outputs[] = {sum_rate, chosen};
    return kernels->operators[HF_STATE_ASCENT](shape, inputs, options, outputs);
}

static inline int hf_link_budget(const hf_table *kernels, const hf_shape *shape,
                                 hf_operand channel, hf_operand amplitudes, hf_operand phase,
                                 hf_operand digital, hf_operand noise_power, int radiated,
                                 void *sinr, double *power) {
    const hf_operand inputs[] = {channel, amplitudes, phase, digital, noise_power};
    const double options[] = {(double)radiated};
    void *const outputs[] = {sinr, power};
    return kernels->operators[HF_LINK_BUDGET](shape, inputs, options, outputs);
}

#endif
