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
#include "alone.inc.h"
#include "joint.inc.h"
#include "spectral.inc.h"
#include "precode.inc.h"
#include "alternating.inc.h"
#include "descent.inc.h"
#include "states.inc.h"

#if defined(HF_LONE)
#define KIND hf_lone
#elif defined(HF_DOUBLES)
#define KIND hf_doubles
#else
#define KIND hf_floats
#endif

const hf_kind JOIN(KIND, HF_ISA) = {
    LANES,
    {HF_EACH_OPERATOR(FUNCTION) refine, screen, finish},
};
