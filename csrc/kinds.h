/* What the kinds of number offer to the choice among them. */
#ifndef HF_KINDS_H
#define HF_KINDS_H

#include "hmimo_fast.h"

/* What the lanes of a pack are: problems, or the channels of one. */
enum { ITEMS, CHANNELS };

/* Inputs of the loops, in the order of the table. */
enum { CHANNEL, AMPLITUDES, PHASE, POWER, NOISE_POWER, WEIGHTS, MIN_RATE, MOVABLE };

/* After the operators of the table: beams found in single precision, once more in double. */
enum { HF_REFINE = HF_OPERATORS, HF_KERNELS };

/* What HF_REFINE does to the beams: it scales them to the power, a WMMSE sweep, or zero forcing with water
 * filling or with equal SINR. */
enum { KEEP, SWEEP, WATER_FILLING, EQUAL_SINR };

typedef int (*hf_kernel)(const hf_shape *shape, const hf_operand *in, const double *options,
                         void *const *out, int lanes, uint8_t *marks);

typedef struct {
    int lanes; /* W, or 1 */
    int (*outside_unit)(int single, ptrdiff_t count, const void *values);
    hf_kernel kernels[HF_KERNELS];
} hf_kind;

#endif
