/* The interface of each kind of number, as choose.c uses it. */
#ifndef HF_KINDS_H
#define HF_KINDS_H

#include <math.h>

#include "hmimo_fast.h"

/* What the lanes of a pack are: problems, or the channels or candidates of one. */
enum { ITEMS, CHANNELS, CANDIDATES };

/* Inputs of variable_projection, in the order of the table.  The other loops have none of the last
 * ones and MOVABLE in the place of MIN_RATE; FEED_POWER, of those that have it, follows. */
enum {
    CHANNEL, AMPLITUDES, PHASE, POWER, NOISE_POWER, WEIGHTS, MIN_RATE, SPLIT, MOVABLE, OVERHEAD,
    FEED_POWER,
    SCREENED
};

/* The last options of variable_projection, and what it maximises. */
enum { OBJECTIVE = 8, MIXED };
enum { SUM_RATE, GEOMETRIC_MEAN, MAX_MIN, MIN_POWER, ENERGY_EFFICIENCY };
#define PRELUDE 3 /* inverse share of the general stage that every candidate makes */

/* After the operators of the table: beams found in single precision, once more in double; and
 * variable_projection in two halves, of which the first only chooses among the candidates. */
enum { HF_REFINE = HF_OPERATORS, HF_SCREEN, HF_FINISH, HF_KERNELS };

/* What refine does to the beams: it scales them to the power (KEEP), after a WMMSE sweep, or after
 * zero forcing with water filling or with equal SINR. */
enum { KEEP, SWEEP, WATER_FILLING, EQUAL_SINR };

/* What the screening leaves of each item, in doubles: the iterations that the best candidate made
 * and whether it converged; whom it serves; the rates recorded; then its states, Psi and the parts of
 * the power and what they are worth, where it ended and where its zero forcing did. */
static inline ptrdiff_t screened_size(const hf_shape *s) {
    return 2 + s->users + s->recorded +
           2 * (s->elements + s->channels * (2 * s->users * s->users + s->feeds + 2) + 1);
}

/* Whether any feed of the batch has a limit. */
static inline int limits_feeds(const hf_shape *s, hf_operand feed_power) {
    const ptrdiff_t items = !feed_power.data ? 0 : feed_power.step ? s->batch : 1;
    for (ptrdiff_t b = 0; b < items; b++) {
        const double *limit = (const double *)((const char *)feed_power.data + b * feed_power.step);
        for (ptrdiff_t l = 0; l < s->feeds; l++)
            if (limit[l] < INFINITY)
                return 1;
    }
    return 0;
}

typedef int (*hf_kernel)(const hf_shape *shape, const hf_operand *in, const double *options,
                         void *const *out, int lanes, uint8_t *marks);

typedef struct {
    int lanes; /* W, or 1 */
    int (*outside_unit)(int single, ptrdiff_t count, const void *values);
    hf_kernel kernels[HF_KERNELS];
} hf_kind;

#endif
