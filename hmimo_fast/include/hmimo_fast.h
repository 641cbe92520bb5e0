/* hmimo_fast: beamforming kernels for reconfigurable holographic surfaces, C interface.
 *
 * Every operator of the table (kernels/operators.py) is one function of one prototype: sizes,
 * inputs, options and outputs in the order of the table.  Arrays are C-contiguous and interleaved
 * complex, one item after another; an input's `step` is the number of *bytes* from one item to
 * the next, 0 when the batch shares it.  Channels, phases, beams and amplitudes are float or
 * double as `single` says, amplitudes real or complex as `turned` says; powers, weights, costs and rates are double.  Options are double,
 * whatever they count.  An output that is not wanted may be NULL where the table allows it
 * (history).  An operator returns HF_OK, or a status with nothing promised about the outputs.  It
 * holds no lock and no state: call it from any thread, on slices of a batch.
 */
#ifndef HMIMO_FAST_H
#define HMIMO_FAST_H

#include <stddef.h>
#include <stdint.h>

#include "hmimo_fast_operators.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HF_OK = 0, HF_NO_MEMORY = 1, HF_TOO_LARGE = 2, HF_STOPPED = 3 };

typedef struct {
    int single;         /* precision of channels, phases, beams, amplitudes */
    int turned;         /* whether amplitudes, and gradients in them, are complex */
    ptrdiff_t batch;    /* items in these arrays */
    ptrdiff_t whole;    /* items of the call that this slice belongs to: with the sizes it decides
                           which kernels run, so that slices and threads change no bit */
    ptrdiff_t users;    /* K */
    ptrdiff_t elements; /* N, or M of a precoder */
    ptrdiff_t feeds;    /* L */
    ptrdiff_t channels; /* F channels that share one amplitude vector */
    ptrdiff_t phases;   /* 1 or F */
    ptrdiff_t recorded; /* I: rates for which `history` has room */
    ptrdiff_t states;   /* S: states of an element */
    const int *stop;    /* NULL, or what ends a loop early with HF_STOPPED once it is not 0 */
} hf_shape;

typedef int (*hf_operator)(const hf_shape *shape, const hf_operand *inputs, const double *options,
                           void *const *outputs);

/* One set of kernels for each instruction-set level; hf_kernels() gives the one in use. */
typedef struct {
    const char *level;
    int (*outside_unit)(int single, ptrdiff_t count, const void *values); /* any not in [0, 1] */
    hf_operator operators[HF_OPERATORS];
} hf_table;

/* The interface: HF_ABI is the one that a caller was compiled with, hf_abi() the one that it meets.
 * Where they differ, structures or the table do, and nothing else may be called. */
#define HF_ABI 6
int hf_abi(void);

/* The kernels of the processor's highest level, or of HMIMO_FAST_ISA (baseline, v3, v4). */
const hf_table *hf_kernels(void);

/* The kernels of one level by name, NULL where it was not compiled or cannot run here. */
const hf_table *hf_kernels_of(const char *level);

#ifdef __cplusplus
}
#endif

#endif
