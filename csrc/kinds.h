/* What the kinds of number offer to the choice among them. */
#ifndef HF_KINDS_H
#define HF_KINDS_H

#include "hmimo_fast.h"

/* What the lanes of a pack are: problems, or the channels or candidates of one. */
enum { ITEMS, CHANNELS, CANDIDATES };

/* Inputs of variable_projection, in the order of the table.  The other loops have none of the last
 * ones and MOVABLE in the place of MIN_RATE. */
enum {
    CHANNEL, AMPLITUDES, PHASE, POWER, NOISE_POWER, WEIGHTS, MIN_RATE, MOVABLE, OVERHEAD, SCREENED
};

/* What variable_projection maximises, which is its last option. */
enum { SUM_RATE, GEOMETRIC_MEAN, MAX_MIN, MIN_POWER, ENERGY_EFFICIENCY };
#define OBJECTIVE 8

/* After the operators of the table: beams found in single precision, once more in double. */
enum { HF_REFINE = HF_OPERATORS, HF_KERNELS };

/* What refine does to the beams: it scales them to the power (KEEP), after a WMMSE sweep, or after
 * zero forcing with water filling or with equal SINR. */
enum { KEEP, SWEEP, WATER_FILLING, EQUAL_SINR };

/* What the candidates of a problem, in the lanes of a pack, leave to the lone problem, in doubles:
 * the number of the best and where it ended; the rates recorded; then its states and Psi there and
 * where its zero forcing ended. */
enum { BEST, REACHED, FORCED, MADE, CONVERGED, NUMBERS };
static inline ptrdiff_t screened_size(const hf_shape *s) {
    return NUMBERS + s->recorded + 2 * (s->elements + 2 * s->channels * s->users * s->users);
}

typedef int (*hf_kernel)(const hf_shape *shape, const hf_operand *in, const double *options,
                         void *const *out, int lanes, uint8_t *marks);

typedef struct {
    int lanes; /* W, or 1 */
    int (*outside_unit)(int single, ptrdiff_t count, const void *values);
    hf_kernel kernels[HF_KERNELS];
} hf_kind;

#endif
