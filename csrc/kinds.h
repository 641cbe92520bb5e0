/* The interface of each kind of number, as choose.c uses it. */
#ifndef HF_KINDS_H
#define HF_KINDS_H

#include <math.h>

#include "hmimo_fast.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
/* The name of an operator, in a list of functions. */
#define FUNCTION(name, ...) name,
/* Inputs and options of an operator by name. */
#define INPUTS(name) ((const hf_##name##_inputs *)in)
#define OPTIONS(name) ((const hf_##name##_options *)options)

/* What the lanes of a pack are: problems, or the channels or candidates of one. */
enum { ITEMS, CHANNELS, CANDIDATES };

/* Inputs of variable_projection, in the order of the table; the other loops have the first six. */
enum {
    CHANNEL, AMPLITUDES, PHASE, POWER, NOISE_POWER, WEIGHTS, MIN_RATE, SPLIT, MOVABLE, OVERHEAD,
    FEED_POWER,
    SCREENED
};

/* What variable_projection maximises. */
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

/* The doubles of an item. */
static inline const double *doubles_of(hf_operand from, ptrdiff_t item) {
    return (const double *)((const char *)from.data + item * from.step);
}

/* Whether any user of an item has a minimum rate, any feed of it a limit, and any of the batch. */
static inline int has_floors(const hf_shape *s, hf_operand min_rate, ptrdiff_t item) {
    int found = 0;
    for (ptrdiff_t k = 0; min_rate.data && k < s->users; k++)
        found |= doubles_of(min_rate, item)[k] > 0;
    return found;
}
static inline int has_limits(const hf_shape *s, hf_operand feed_power, ptrdiff_t item) {
    int found = 0;
    for (ptrdiff_t l = 0; feed_power.data && l < s->feeds; l++)
        found |= doubles_of(feed_power, item)[l] < INFINITY;
    return found;
}
static inline int limits_feeds(const hf_shape *s, hf_operand feed_power) {
    int found = 0;
    for (ptrdiff_t b = 0; b < (feed_power.step ? s->batch : 1); b++)
        found |= has_limits(s, feed_power, b);
    return found;
}

typedef int (*hf_kernel)(const hf_shape *shape, const hf_operand *in, const double *options,
                         void *const *out, int lanes, uint8_t *marks);

typedef struct {
    int lanes; /* W, or 1 */
    hf_kernel kernels[HF_KERNELS];
} hf_kind;

#endif
