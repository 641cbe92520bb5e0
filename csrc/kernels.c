/* All kernels at one instruction-set level, HF_ISA: compiled once a level. */
#include "hmimo_fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vec.h"

/* A problem of the fused loops, and of one step over one channel. */
typedef struct {
    hf_operand channel;     /* (F, K, N) */
    hf_operand amplitudes;  /* (N) start */
    hf_operand phase;       /* (phases, N, L) */
    hf_operand power;       /* scalar */
    hf_operand noise_power; /* scalar */
    hf_operand weights;     /* (K) */
    int radiated;           /* power of diag(m) Phi V, or of V */
} hf_problem;

/* What the fused loops return, one after another along the batch. */
typedef struct {
    void *amplitudes; /* (N) */
    void *digital;    /* (F, L, K) */
    double *sum_rate; /* under minimum rates that were not met: log2 of worst SINR over target */
    int64_t *iterations;
    uint8_t *converged;
    double *history; /* rate of every iterate, NaN where none */
} hf_solved;

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

#include "entries_old.inc.h"

const hf_table JOIN(hf_table_, HF_ISA) = {
    TEXT(HF_ISA),
    outside_unit,
    {
        effective_channel_entry, sinr_entry, sum_rate_entry, sum_rate_gradient_entry,
        zero_forcing_entry, wmmse_entry, water_filling_entry, project_entry, best_beams_entry,
        alternating_entry, variable_projection_entry, coordinate_descent_entry,
        wmmse_gradient_entry,
    },
};
