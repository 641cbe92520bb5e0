/* All operators in one kind of number (num.h) at one instruction-set level, HF_ISA: compiled once
 * for each pair. */
#include "hmimo_fast.h"

#include "num.h"

#include "algebra.inc.h"
#include "problem.inc.h"
#include "rates.inc.h"
#include "inner_zf.inc.h"
#include "inner_general.inc.h"
#include "inner_floors.inc.h"
#include "ascent.inc.h"
#include "start.inc.h"
#include "joint.inc.h"
#include "precode.inc.h"
#include "alternating.inc.h"
#include "descent.inc.h"
#ifdef TRY
int try_call(int op, const hf_shape *s, const hf_operand *in, const double *o, void *const *out) {
    uint8_t *marks = LANES > 1 ? calloc(s->batch, 1) : NULL;
    switch (op) {
    case HF_SUM_RATE_GRADIENT: return sum_rate_gradient(s, in, o, out);
    case HF_EFFECTIVE_CHANNEL: return effective_channel(s, in, o, out);
    case HF_SINR: return sinr(s, in, o, out);
    case HF_SUM_RATE: return sum_rate(s, in, o, out);
    case HF_VARIABLE_PROJECTION: return variable_projection(s, in, o, out, ITEMS, NULL);
    case HF_ALTERNATING: return alternating(s, in, o, out, ITEMS, marks);
    case HF_COORDINATE_DESCENT: return coordinate_descent(s, in, o, out, ITEMS, marks);
    case HF_ZERO_FORCING: return zero_forcing(s, in, o, out, marks);
    case HF_WMMSE: return wmmse(s, in, o, out, marks);
    case HF_PROJECT: return project(s, in, o, out, marks);
    case HF_WATER_FILLING: return water_filling(s, in, o, out, marks);
    case HF_BEST_BEAMS: return best_beams(s, in, o, out, ITEMS, marks);
    case HF_WMMSE_GRADIENT: return wmmse_gradient(s, in, o, out, marks);
    }
    return -1;
}
#endif
