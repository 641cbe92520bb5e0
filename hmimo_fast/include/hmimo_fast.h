/* hmimo_fast: beamforming kernels for reconfigurable holographic surfaces, C interface.
 *
 * Arrays are C-contiguous and interleaved complex, one item after another; an operand's
 * `step` is the number of *bytes* from one item to the next, 0 when the batch shares it.
 * Channels, phases, beams and amplitudes are float or double as `single` says; powers,
 * weights, costs and rates are double.  A kernel returns 0, or HF_NO_MEMORY or
 * HF_TOO_LARGE with nothing written.  It holds no lock and no state: call it from any
 * thread, on slices of a batch.
 */
#ifndef HMIMO_FAST_H
#define HMIMO_FAST_H

#include <stddef.h>
#include <stdint.h>

#define HF_VERSION 1

enum { HF_OK = 0, HF_NO_MEMORY = 1, HF_TOO_LARGE = 2 };

typedef struct {
    const void *data;
    ptrdiff_t step;
} hf_operand;

typedef struct {
    int single;         /* precision of channels, phases, beams, amplitudes */
    ptrdiff_t batch;    /* items */
    ptrdiff_t users;    /* K */
    ptrdiff_t elements; /* N, or M of a precoder */
    ptrdiff_t feeds;    /* L */
    ptrdiff_t channels; /* F channels that share one amplitude vector */
    ptrdiff_t phases;   /* 1 or F */
} hf_shape;

/* A problem of the fused loops, and of one step over one channel. */
typedef struct {
    hf_operand channel;     /* (F, K, N) */
    hf_operand amplitudes;  /* (N) start */
    hf_operand phase;       /* (phases, N, L) */
    hf_operand power;       /* scalar */
    hf_operand noise_power; /* scalar */
    hf_operand weights;     /* (K) */
    int radiated;           /* power of diag(m) Phi V, or of V */
} hf_problem;

/* What the fused loops return, one after another along the batch. */
typedef struct {
    void *amplitudes; /* (N) */
    void *digital;    /* (F, L, K) */
    double *sum_rate; /* under minimum rates that were not met: log2 of worst SINR over target */
    int64_t *iterations;
    uint8_t *converged;
    double *history; /* rate of every iterate, NaN where none */
} hf_solved;

/* One set of kernels for each instruction-set level; hf_kernels() gives the one in use. */
typedef struct {
    const char *level;
    int (*outside_unit)(int single, ptrdiff_t count, const void *values); /* any not in [0, 1] */
    int (*effective_channel)(hf_shape, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                             void *effective);
    int (*sinr)(hf_shape, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                hf_operand digital, hf_operand noise_power, void *sinr);
    int (*sum_rate)(hf_shape, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                    hf_operand digital, hf_operand noise_power, hf_operand weights, void *rate);
    int (*sum_rate_gradient)(hf_shape, hf_operand channel, hf_operand amplitudes, hf_operand phase,
                             hf_operand digital, hf_operand noise_power, hf_operand weights,
                             void *rate, void *d_amplitudes, void *d_digital);
    int (*zero_forcing)(hf_shape, hf_operand effective, hf_operand power, void *precoder,
                        int64_t *rank);
    int (*wmmse)(hf_shape, hf_operand effective, hf_operand power, hf_operand noise_power,
                 hf_operand weights, int64_t iterations, void *precoder);
    int (*water_filling)(hf_shape, hf_operand cost, hf_operand power, hf_operand noise_power,
                         hf_operand weights, hf_operand min_rate, double *received,
                         uint8_t *feasible);
    int (*project)(hf_shape, hf_operand amplitudes, hf_operand phase, hf_operand precoder,
                   hf_operand power, int radiated, void *digital);
    int (*alternating)(hf_shape, hf_problem, int backtracking, double step, int64_t inner,
                       double tolerance, int64_t iterations, hf_solved);
    int (*variable_projection)(hf_shape, hf_problem, hf_operand min_rate, int64_t zf_iterations,
                               int64_t iterations, int64_t candidates, int64_t sweeps,
                               double tolerance, hf_solved);
    int (*coordinate_descent)(hf_shape, hf_problem, int zero_forced, double tolerance,
                              int64_t iterations, hf_solved);
    int (*wmmse_gradient)(hf_shape, hf_problem, hf_operand digital, int64_t sweeps,
                          double *sum_rate, void *to_digital, void *d_amplitudes);
} hf_table;

/* The kernels of the processor's highest level, or of HMIMO_FAST_ISA (baseline, v3, v4). */
const hf_table *hf_kernels(void);

/* The interface: HF_ABI is the one that a caller was compiled with, hf_abi() the one that it meets.
 * Where they differ, structures or prototypes do, and nothing else may be called. */
#define HF_ABI 1
int hf_abi(void);

/* The kernels of one level by name, NULL where it was not compiled or cannot run here. */
const hf_table *hf_kernels_of(const char *level);

/* A kernel on one item behind plain arguments, by the name it has in the table: the address of an
 * int (int64_t single, users, elements, feeds, channels, phases, inputs, options, outputs) whose
 * arrays are pointers, powers and real options double, the rest int64_t.  NULL if unknown. */
typedef void (*hf_function)(void);
hf_function hf_item_kernel(const char *name);

#endif
