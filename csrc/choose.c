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

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

extern const hf_kind JOIN(hf_lone_, HF_ISA), JOIN(hf_doubles_, HF_ISA), JOIN(hf_floats_, HF_ISA);
#define LONE JOIN(hf_lone_, HF_ISA)
#define DOUBLES JOIN(hf_doubles_, HF_ISA)
#define FLOATS JOIN(hf_floats_, HF_ISA)
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
    if (!may || !in[MIN_RATE].data)
        return 0;
    int any = 0;
    for (ptrdiff_t b = 0; b < s->batch; b++) {
        const char *of_item = (const char *)in[MIN_RATE].data + b * in[MIN_RATE].step;
        const double *rate = (const double *)of_item;
        for (ptrdiff_t k = 0; k < s->users; k++)
            marks[b] |= rate[k] > 0;
        any |= marks[b];
    }
    return any;
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
    case HF_COORDINATE_DESCENT: return options[1] != 0 ? WATER_FILLING : KEEP;
    case HF_BEST_BEAMS: return options[1] != 0 ? KEEP : WATER_FILLING;
    default: return options[2] > 0 ? SWEEP : WATER_FILLING;
    }
}

/* Whether feeds have limits of their own, which `refine` would not hold: the beams that are returned
 * are then found in double. */
static int has_limits(int operator_, const hf_shape *s, const hf_operand *in) {
    switch (operator_) {
    case HF_VARIABLE_PROJECTION: return limits_feeds(s, in[FEED_POWER]);
    case HF_BEST_BEAMS: return limits_feeds(s, in[MOVABLE]);
    case HF_COORDINATE_DESCENT: return limits_feeds(s, in[SPLIT]);
    default: return 0;
    }
}

/* Whether a problem has several candidates and one finalist. */
static int has_candidates(int operator_, const double *options) {
    if (operator_ != HF_VARIABLE_PROJECTION)
        return 0;
    const int leaves_out = options[OBJECTIVE] == SUM_RATE || options[OBJECTIVE] == ENERGY_EFFICIENCY;
    return leaves_out && options[1] > 0 && options[2] >= PRELUDE && options[3] > 1 && options[4] == 1;
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
    const int plain = operator_ != HF_VARIABLE_PROJECTION || options[OBJECTIVE] == SUM_RATE;
    const int loop = is_loop(operator_), limited = has_limits(operator_, s, in);
    const int mixed_states = operator_ == HF_STATE_ASCENT && options[3] != 0;
    int floats = (s->single || mixed_states) && plain && !limited && !in_double(operator_);
    const hf_kind *pack = floats ? &FLOATS : &DOUBLES;
    const double bytes = (double)s->users * s->elements * (loop ? s->channels : 1) *
                         pack->lanes * (floats ? 8 : 16);
    int lanes = ITEMS, packed = (s->whole >= FEWEST || mixed_states) && bytes <= (loop ? STAYING : PASSING);
    if (loop && plain && !packed && s->channels >= FEWEST && bytes / s->channels <= STAYING) {
        lanes = CHANNELS;
        packed = 1;
    }
    floats &= packed;
    const int candidates = has_candidates(operator_, options);
    const int mixed = candidates && options[MIXED] != 0;
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
    for (ptrdiff_t b = 0; status == HF_OK && b < s->batch; b++)
        if (marks[b]) {
            status = LONE.kernels[operator_](s, in, options, out, ITEMS, marks);
            break;
        }
    free(marks);
    return status;
}

#define ENTRY(name, NAME)                                                                     \
    static int name(const hf_shape *s, const hf_operand *in, const double *o, void *const *out) { \
        return run(NAME, s, in, o, out);                                                      \
    }
ENTRY(effective_channel, HF_EFFECTIVE_CHANNEL)
ENTRY(sinr, HF_SINR)
ENTRY(sum_rate, HF_SUM_RATE)
ENTRY(sum_rate_gradient, HF_SUM_RATE_GRADIENT)
ENTRY(zero_forcing, HF_ZERO_FORCING)
ENTRY(wmmse, HF_WMMSE)
ENTRY(water_filling, HF_WATER_FILLING)
ENTRY(project, HF_PROJECT)
ENTRY(best_beams, HF_BEST_BEAMS)
ENTRY(alternating, HF_ALTERNATING)
ENTRY(variable_projection, HF_VARIABLE_PROJECTION)
ENTRY(coordinate_descent, HF_COORDINATE_DESCENT)
ENTRY(wmmse_gradient, HF_WMMSE_GRADIENT)
ENTRY(max_min, HF_MAX_MIN)
ENTRY(min_power, HF_MIN_POWER)
ENTRY(spectral_ascent, HF_SPECTRAL_ASCENT)
ENTRY(state_ascent, HF_STATE_ASCENT)
ENTRY(link_budget, HF_LINK_BUDGET)

static int outside_unit(int single, ptrdiff_t count, const void *values) {
    return (single ? FLOATS : LONE).outside_unit(single, count, values);
}

const hf_table JOIN(hf_table_, HF_ISA) = {
    TEXT(HF_ISA),
    outside_unit,
    {effective_channel, sinr, sum_rate, sum_rate_gradient, zero_forcing, wmmse, water_filling,
     project, best_beams, alternating, variable_projection, coordinate_descent, wmmse_gradient,
     max_min, min_power, spectral_ascent, state_ascent, link_budget},
};
