/* Chooses the instruction-set level once, by function pointers. */
#include "hmimo_fast.h"

#include <stdlib.h>
#include <string.h>

extern const hf_table hf_table_baseline;
#ifdef HF_HAVE_V3
extern const hf_table hf_table_v3;
#endif
#ifdef HF_HAVE_V4
extern const hf_table hf_table_v4;
#endif

const hf_table *hf_kernels_of(const char *level) {
#ifdef HF_HAVE_V4
    if (!strcmp(level, "v4"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl")
                   ? &hf_table_v4
                   : NULL;
#endif
#ifdef HF_HAVE_V3
    if (!strcmp(level, "v3"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                       __builtin_cpu_supports("bmi2")
                   ? &hf_table_v3
                   : NULL;
#endif
    return strcmp(level, "baseline") ? NULL : &hf_table_baseline;
}

int hf_abi(void) { return HF_ABI; }

const hf_table *hf_kernels(void) {
    static const hf_table *chosen;
    const hf_table *table = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (table)
        return table;
    const char *levels[] = {getenv("HMIMO_FAST_ISA"), "v4", "v3", "baseline"};
    for (int i = 0; !table; i++)
        if (levels[i])
            table = hf_kernels_of(levels[i]);
    __atomic_store_n(&chosen, table, __ATOMIC_RELAXED);
    return table;
}
