/* All operators in one kind of number (num.h) at one instruction-set level, HF_ISA: compiled once
 * for each pair. */
#include "kinds.h"

#include "num.h"

#include "algebra.inc.h"
#include "element.inc.h"
#include "problem.inc.h"
#include "objective.inc.h"
#include "rates.inc.h"
#include "inner_zf.inc.h"
#include "inner_general.inc.h"
#include "feeds.inc.h"
#include "inner_floors.inc.h"
#include "inner_balanced.inc.h"
#include "ascent.inc.h"
#include "start.inc.h"
#include "joint.inc.h"
#include "spectral.inc.h"
#include "precode.inc.h"
#include "alternating.inc.h"
#include "descent.inc.h"
#include "states.inc.h"

/* Whether any value lies outside [0, 1]; NaN counts as inside. */
static int outside_unit(int single, ptrdiff_t count, const void *values) {
    vec low = {0}, high = {0};
    idx i = 0;
    for (; i + W <= count; i += W) {
        const vec x = read_vec(single, values, i);
        low = choose(x < low, x, low);
        high = choose(x > high, x, high);
    }
    int outside = 0;
    for (int lane = 0; lane < W; lane++)
        outside |= low[lane] < 0 || high[lane] > 1;
    for (; i < count; i++)
        outside |= read_one(single, values, i) < 0 || read_one(single, values, i) > 1;
    return outside;
}

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)

#if defined(HF_LONE)
#define KIND lone
#elif defined(HF_DOUBLES)
#define KIND doubles
#else
#define KIND floats
#endif

const hf_kind JOIN(hf, KIND, HF_ISA) = {
    LANES,
    outside_unit,
    {effective_channel, sinr, sum_rate, sum_rate_gradient, zero_forcing, wmmse, water_filling,
     project, best_beams, alternating, variable_projection, coordinate_descent, wmmse_gradient,
     max_min, min_power, spectral_ascent, state_ascent, link_budget, refine, screen, finish},
};
