/* Which kind of number runs each operator, at one instruction-set level, HF_ISA: compiled once per
 * level.
 *
 * The choice follows from the sizes and the batch of the whole call, so that slices of it and
 * threads change no bit.  What a pack leaves is done by the lone problem, in double.
 */
#include "kinds.h"

#include <stdlib.h>
#include <string.h>

#define FEWEST 4            /* items, or channels of one, that fill a pack well enough */
#define PASSING (256 << 10) /* bytes of channels in a pack that is read once, */
#define STAYING (512 << 10) /* and of one that stays in the cache for a loop */

#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define LONE JOIN(hf_lone, HF_ISA)
#define DOUBLES JOIN(hf_doubles, HF_ISA)
#define FLOATS JOIN(hf_floats, HF_ISA)
extern const hf_kind LONE, DOUBLES, FLOATS;
#ifdef __AVX512F__ /* half as wide: half the time where the processor splits registers in two */
extern const hf_kind hf_floats_v3;
#define NARROW hf_floats_v3
#else
#define NARROW FLOATS
#endif

static int is_loop(int operator_) {
    return operator_ >= HF_BEST_BEAMS && operator_ <= HF_COORDINATE_DESCENT;
}

/* What is computed in double whatever the precision of the call. */
static int in_double(int operator_) {
    return operator_ == HF_WATER_FILLING || operator_ == HF_MAX_MIN || operator_ == HF_MIN_POWER;
}

/* Marks the items of a loop any of whose users has a minimum rate; whether there are any. */
static int mark_floored(int operator_, const hf_shape *s, const hf_operand *in, uint8_t *marks) {
    const int may = operator_ == HF_VARIABLE_PROJECTION || operator_ == HF_BEST_BEAMS;
    for (ptrdiff_t b = 0; may && b < s->batch; b++)
        marks[b] = (uint8_t)has_floors(s, in[MIN_RATE], b);
    return memchr(marks, 1, (size_t)s->batch) != NULL;
}

/* Whether sizes exceed those of any real problem; below, no product of them overflows. */
static int too_large(int operator_, const hf_shape *s) {
    const double K = (double)s->users, N = (double)s->elements, L = (double)s->feeds;
    const double F = (double)s->channels, G = (double)s->phases;
    const double largest = 1 << 24;
    if (K > largest || N > largest || L > largest || F > largest || G > largest)
        return 1;
    return operator_ != HF_WATER_FILLING && F * K * (N + K + L) + (G + 1) * L * (N + L) > 1e10;
}

/* What single precision leaves to do in double after a loop. */
static int refinement(int operator_, const double *options) {
    switch (operator_) {
    case HF_ALTERNATING: return EQUAL_SINR;
    case HF_COORDINATE_DESCENT:
        return OPTIONS(coordinate_descent)->zero_forced ? WATER_FILLING : KEEP;
    case HF_BEST_BEAMS: return OPTIONS(best_beams)->general ? KEEP : WATER_FILLING;
    default: return OPTIONS(variable_projection)->iterations ? SWEEP : WATER_FILLING;
    }
}

/* Whether feeds have limits of their own, which `refine` would not hold: the beams that are returned
 * are then found in double. */
static int limited_feeds(int operator_, const hf_shape *s, const hf_operand *in) {
    switch (operator_) {
    case HF_VARIABLE_PROJECTION: return limits_feeds(s, INPUTS(variable_projection)->feed_power);
    case HF_BEST_BEAMS: return limits_feeds(s, INPUTS(best_beams)->feed_power);
    case HF_COORDINATE_DESCENT: return limits_feeds(s, INPUTS(coordinate_descent)->feed_power);
    default: return 0;
    }
}

/* Whether a problem has several candidates and one finalist. */
static int has_candidates(int operator_, const double *options) {
    const hf_variable_projection_options *o = OPTIONS(variable_projection);
    return operator_ == HF_VARIABLE_PROJECTION &&
           (o->objective == SUM_RATE || o->objective == ENERGY_EFFICIENCY) &&
           o->zf_iterations > 0 && o->iterations >= PRELUDE && o->candidates > 1 &&
           o->finalists == 1;
}

/* The candidates first, in single precision if that may be; problems too few for the lanes fill
 * them with their candidates.  The best of each goes on in double.  Marks what is left. */
static int run_screened(const hf_shape *s, const hf_operand *in, const double *options,
                        void *const *out, int packed, int mixed, int lanes, uint8_t *marks,
                        uint8_t *others) {
    const hf_kind *few = s->users <= NARROW.lanes ? &NARROW : &FLOATS;
    const hf_kind *pack = !mixed ? &DOUBLES : packed ? &FLOATS : few;
    double *left = malloc((size_t)(s->batch * screened_size(s)) * sizeof(double) + 1);
    if (!left)
        return HF_NO_MEMORY;
    hf_operand given[SCREENED + 1];
    memcpy(given, in, SCREENED * sizeof *in);
    given[SCREENED] = (hf_operand){left, 0};
    int status =
        pack->kernels[HF_SCREEN](s, given, options, NULL, packed ? lanes : CANDIDATES, marks);
    for (ptrdiff_t b = 0; b < s->batch; b++)
        others[b] = !marks[b];
    if (status == HF_OK && packed)
        status = DOUBLES.kernels[HF_FINISH](s, given, options, out, lanes, marks);
    else if (status == HF_OK)
        status = LONE.kernels[HF_FINISH](s, given, options, out, ITEMS, others);
    free(left);
    return status;
}

static int run(int operator_, const hf_shape *s, const hf_operand *in, const double *options,
               void *const *out) {
    if (too_large(operator_, s))
        return HF_TOO_LARGE;
    const int projects = operator_ == HF_VARIABLE_PROJECTION;
    const int plain = !projects || OPTIONS(variable_projection)->objective == SUM_RATE;
    const int loop = is_loop(operator_), limited = limited_feeds(operator_, s, in);
    const int mixed_states = operator_ == HF_STATE_ASCENT && OPTIONS(state_ascent)->mixed;
    int floats = (s->single || mixed_states) && plain && !limited && !in_double(operator_);
    const hf_kind *pack = floats ? &FLOATS : &DOUBLES;
    const double bytes = (double)s->users * s->elements * (loop ? s->channels : 1) *
                         pack->lanes * (floats ? 8 : 16);
    int lanes = ITEMS;
    int packed = (s->whole >= FEWEST || mixed_states) && bytes <= (loop ? STAYING : PASSING);
    if (loop && plain && !packed && s->channels >= FEWEST && bytes / s->channels <= STAYING) {
        lanes = CHANNELS;
        packed = 1;
    }
    floats &= packed;
    const int candidates = has_candidates(operator_, options);
    const int mixed = candidates && OPTIONS(variable_projection)->mixed;
    const int screened = candidates && !floats && bytes <= STAYING && (mixed || !packed);
    if (!packed && !screened)
        return LONE.kernels[operator_](s, in, options, out, ITEMS, NULL);
    uint8_t *marks = calloc(2 * (size_t)s->batch + 1, 1), *others = marks + s->batch;
    if (!marks)
        return HF_NO_MEMORY;
    /* Minimum rates need double precision, and lanes that are problems. */
    int status, apart = 0;
    if (floats || screened || lanes == CHANNELS)
        apart = mark_floored(operator_, s, in, marks);
    for (ptrdiff_t b = 0; b < s->batch; b++)
        others[b] = !marks[b];
    if (screened)
        status = run_screened(s, in, options, out, packed, mixed, lanes, marks, others);
    else
        status = pack->kernels[operator_](s, in, options, out, lanes, marks);
    if (status == HF_OK && floats && loop) {
        void *beams[] = {NULL, out[0], out[1]}; /* best_beams has no amplitudes to give */
        const double how[] = {options[0], refinement(operator_, options)};
        status = DOUBLES.kernels[HF_REFINE](s, in, how,
                                            operator_ == HF_BEST_BEAMS ? beams : out, lanes, marks);
    }
    if (status == HF_OK && packed && (lanes == ITEMS ? apart || screened : screened && !apart)) {
        status = DOUBLES.kernels[operator_](s, in, options, out, lanes, others);
        for (ptrdiff_t b = 0; b < s->batch; b++)
            marks[b] &= others[b];
    }
    if (status == HF_OK && memchr(marks, 1, (size_t)s->batch))
        status = LONE.kernels[operator_](s, in, options, out, ITEMS, marks);
    free(marks);
    return status;
}

#define ENTRY(name, NAME, ...)                                                                \
    static int name(const hf_shape *s, const hf_operand *in, const double *o, void *const *out) { \
        return run(HF_##NAME, s, in, o, out);                                                 \
    }
HF_EACH_OPERATOR(ENTRY)

/* Whether any value lies outside [0, 1]; NaN counts as inside. */
static int outside_unit(int single, ptrdiff_t count, const void *values) {
    int outside = 0;
    if (single)
        for (const float *x = values; count; count--, x++)
            outside |= (*x < 0) | (*x > 1);
    else
        for (const double *x = values; count; count--, x++)
            outside |= (*x < 0) | (*x > 1);
    return outside;
}

const hf_table JOIN(hf_table, HF_ISA) = {
    TEXT(HF_ISA),
    outside_unit,
    {HF_EACH_OPERATOR(FUNCTION)},
};
