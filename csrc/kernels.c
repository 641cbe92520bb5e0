/* All kernels at one instruction-set level, HF_ISA: compiled once a level. */
#include "hmimo_fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vec.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

/* passes.inc.h and link.inc.h in both precisions, users.h on double between them. */
#define REAL double
#define V VD
#define V_any VD_any
#define W WD
#define EVEN EVEN_D
#define ODD ODD_D
#define T(name) name##_d
#include "passes.inc.h"
#include "users.h"
#include "link.inc.h"
#undef REAL
#undef V
#undef V_any
#undef W
#undef EVEN
#undef ODD
#undef T

#define REAL float
#define V VF
#define V_any VF_any
#define W WF
#define EVEN EVEN_F
#define ODD ODD_F
#define T(name) name##_f
#include "passes.inc.h"
#include "link.inc.h"
#undef REAL
#undef V
#undef V_any
#undef W
#undef EVEN
#undef ODD
#undef T

#include "precode.h"
#include "solve.h"

static int outside_unit(int single, ptrdiff_t count, const void *values) {
    return single ? outside_unit_f(count, values) : outside_unit_d(count, values);
}

/* The entry of an operator that runs in the precision of its arrays. */
#define BY_PRECISION(name, PARAMETERS, ARGUMENTS)                        \
    static int name PARAMETERS {                                         \
        return s.single ? name##_f ARGUMENTS : name##_d ARGUMENTS;       \
    }

BY_PRECISION(effective_channel, (hf_shape s, hf_operand h, hf_operand m, hf_operand p, void *out),
             (s, h, m, p, out))
BY_PRECISION(sinr,
             (hf_shape s, hf_operand h, hf_operand m, hf_operand p, hf_operand v, hf_operand n,
              void *out),
             (s, h, m, p, v, n, out))
BY_PRECISION(sum_rate,
             (hf_shape s, hf_operand h, hf_operand m, hf_operand p, hf_operand v, hf_operand n,
              hf_operand w, void *out),
             (s, h, m, p, v, n, w, out))
BY_PRECISION(sum_rate_gradient,
             (hf_shape s, hf_operand h, hf_operand m, hf_operand p, hf_operand v, hf_operand n,
              hf_operand w, void *rate, void *d_m, void *d_v),
             (s, h, m, p, v, n, w, rate, d_m, d_v))
#undef BY_PRECISION

const hf_table JOIN(hf_table_, HF_ISA) = {
    TEXT(HF_ISA),      outside_unit, effective_channel, sinr,    sum_rate,
    sum_rate_gradient, zero_forcing, wmmse,             water_filling, project,
    alternating,       variable_projection, coordinate_descent, wmmse_gradient,
};
