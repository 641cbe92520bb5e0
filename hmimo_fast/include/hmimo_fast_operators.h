/* The operators in the order of the table, and their inputs and options by name: an operator's
 * `inputs` and `options` may be taken for these.  Written by csrc/typed.py. */
#ifndef HMIMO_FAST_OPERATORS_H
#define HMIMO_FAST_OPERATORS_H

enum { HF_EFFECTIVE_CHANNEL, HF_SINR, HF_SUM_RATE, HF_SUM_RATE_GRADIENT, HF_ZERO_FORCING, HF_WMMSE,
       HF_WATER_FILLING, HF_PROJECT, HF_BEST_BEAMS, HF_ALTERNATING, HF_VARIABLE_PROJECTION,
       HF_COORDINATE_DESCENT, HF_WMMSE_GRADIENT, HF_MAX_MIN, HF_MIN_POWER, HF_SPECTRAL_ASCENT,
       HF_STATE_ASCENT, HF_LINK_BUDGET, HF_OPERATORS };

/* DO(name, NAME, outputs) of each operator; outputs by kind and sizes, as in the table. */
#define HF_EACH_OPERATOR(DO) \
    DO(effective_channel, EFFECTIVE_CHANNEL, "cKL") \
    DO(sinr, SINR, "rK") \
    DO(sum_rate, SUM_RATE, "r") \
    DO(sum_rate_gradient, SUM_RATE_GRADIENT, "r", "qN", "cLK") \
    DO(zero_forcing, ZERO_FORCING, "cMK", "i") \
    DO(wmmse, WMMSE, "cMK") \
    DO(water_filling, WATER_FILLING, "dK", "b") \
    DO(project, PROJECT, "cLK") \
    DO(best_beams, BEST_BEAMS, "cFLK", "d") \
    DO(alternating, ALTERNATING, "qN", "cFLK", "d", "i", "b", "dI") \
    DO(variable_projection, VARIABLE_PROJECTION, "qN", "cFLK", "d", "i", "b", "dI") \
    DO(coordinate_descent, COORDINATE_DESCENT, "qN", "cFLK", "d", "i", "b", "dI") \
    DO(wmmse_gradient, WMMSE_GRADIENT, "d", "cLK", "qN") \
    DO(max_min, MAX_MIN, "cMK", "d") \
    DO(min_power, MIN_POWER, "cMK", "d", "b") \
    DO(spectral_ascent, SPECTRAL_ASCENT, "d", "cLK", "rN", "rN", "rN", "rN", "rN", "rN", "d") \
    DO(state_ascent, STATE_ASCENT, "d", "iN") \
    DO(link_budget, LINK_BUDGET, "rK", "d")

typedef struct {
    const void *data;
    ptrdiff_t step;
} hf_operand;

typedef struct { hf_operand channel, amplitudes, phase; } hf_effective_channel_inputs;
typedef struct { hf_operand channel, amplitudes, phase, digital, noise_power; } hf_sinr_inputs;
typedef struct { hf_operand channel, amplitudes, phase, digital, noise_power,
                            weights; } hf_sum_rate_inputs;
typedef struct { hf_operand channel, amplitudes, phase, digital, noise_power,
                            weights; } hf_sum_rate_gradient_inputs;
typedef struct { hf_operand effective_channel, power; } hf_zero_forcing_inputs;
typedef struct { hf_operand effective_channel, power, noise_power, weights; } hf_wmmse_inputs;
typedef struct { double iterations; } hf_wmmse_options;
typedef struct { hf_operand cost, power, noise_power, weights, min_rate; } hf_water_filling_inputs;
typedef struct { hf_operand amplitudes, phase, precoder, power; } hf_project_inputs;
typedef struct { double radiated; } hf_project_options;
typedef struct { hf_operand channel, amplitudes, phase, power, noise_power, weights, min_rate,
                            split, feed_power; } hf_best_beams_inputs;
typedef struct { double radiated, general, sweeps; } hf_best_beams_options;
typedef struct { hf_operand channel, amplitudes, phase, power, noise_power, weights,
                            movable; } hf_alternating_inputs;
typedef struct { double radiated, backtracking, step, inner, tolerance, iterations,
                        element; } hf_alternating_options;
typedef struct { hf_operand channel, amplitudes, phase, power, noise_power, weights, min_rate,
                            split, movable, overhead, feed_power; } hf_variable_projection_inputs;
typedef struct { double radiated, zf_iterations, iterations, candidates, finalists, sweeps,
                        tolerance, element, objective, mixed; } hf_variable_projection_options;
typedef struct { hf_operand channel, amplitudes, phase, power, noise_power, weights, movable,
                            feed_power; } hf_coordinate_descent_inputs;
typedef struct { double radiated, zero_forced, tolerance, iterations,
                        element; } hf_coordinate_descent_options;
typedef struct { hf_operand channel, amplitudes, phase, digital, power, noise_power,
                            weights; } hf_wmmse_gradient_inputs;
typedef struct { double radiated, sweeps; } hf_wmmse_gradient_options;
typedef struct { hf_operand effective_channel, power, noise_power, weights; } hf_max_min_inputs;
typedef struct { hf_operand effective_channel, noise_power, min_rate; } hf_min_power_inputs;
typedef struct { hf_operand channel, start, phase, digital, power, noise_power, weights, change,
                            slope; } hf_spectral_ascent_inputs;
typedef struct { double radiated, sweeps, steps; } hf_spectral_ascent_options;
typedef struct { hf_operand channel, amplitudes, phase, power, noise_power, weights, movable,
                            states; } hf_state_ascent_inputs;
typedef struct { double radiated, tolerance, iterations, mixed; } hf_state_ascent_options;
typedef struct { hf_operand channel, amplitudes, phase, digital,
                            noise_power; } hf_link_budget_inputs;
typedef struct { double radiated; } hf_link_budget_options;

#endif
