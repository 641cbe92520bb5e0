/* Vectors of one register at the level compiled, through GNU vector extensions.
 *
 * VD and VF hold WD doubles and WF floats.  Every array they are loaded from is 64-byte
 * aligned and padded with zeros to whole vectors, except through the *_any functions.
 */
#ifndef HF_VEC_H
#define HF_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32 /* has no aligned_alloc, and frees aligned memory by a function of its own */
#include <malloc.h>
#define aligned_alloc(alignment, bytes) _aligned_malloc(bytes, alignment)
#define malloc(bytes) _aligned_malloc(bytes, 16)
#define free _aligned_free
#endif

#if defined(__AVX512F__)
#define VBYTES 64
#define MOST_ROWS 6 /* of a register block: 6 x 4 sums and 5 operands of 32 registers */
#elif defined(__AVX__)
#define VBYTES 32
#define MOST_ROWS 3 /* 3 x 4 sums and 4 operands of 16 registers */
#else
#define VBYTES 16
#define MOST_ROWS 3
#endif

/* Calls CALL(rows) with rows as a constant of at most MOST_ROWS. */
#if MOST_ROWS == 6
#define CONSTANT_ROWS(rows, CALL) \
    switch (rows) {               \
    case 6: CALL(6); break;       \
    case 5: CALL(5); break;       \
    case 4: CALL(4); break;       \
    case 3: CALL(3); break;       \
    case 2: CALL(2); break;       \
    default: CALL(1); break;      \
    }
#else
#define CONSTANT_ROWS(rows, CALL) \
    switch (rows) {               \
    case 3: CALL(3); break;       \
    case 2: CALL(2); break;       \
    default: CALL(1); break;      \
    }
#endif

#define WD (VBYTES / 8)
#define WF (VBYTES / 4)

/* Reals of a strip: its rows and waves stay in the first-level cache for every block. */
#define STRIP 256

typedef double VD __attribute__((vector_size(VBYTES), may_alias));
typedef float VF __attribute__((vector_size(VBYTES), may_alias));
typedef int64_t VI __attribute__((vector_size(VBYTES), may_alias));
typedef uint64_t VU __attribute__((vector_size(VBYTES), may_alias)); /* wraps around */
typedef double VD_any __attribute__((vector_size(VBYTES), aligned(8), may_alias));
typedef float VF_any __attribute__((vector_size(VBYTES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Even and odd lanes of the 2 W lanes of (a, b); each lane moved up by one. */
#if VBYTES == 64
#define EVEN_D(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD_D(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define EVEN_F(a, b) \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD_F(a, b) \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ROTATE(a) __builtin_shufflevector(a, a, 7, 0, 1, 2, 3, 4, 5, 6)
#elif VBYTES == 32
#define ROTATE(a) __builtin_shufflevector(a, a, 3, 0, 1, 2)
#define EVEN_D(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD_D(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define EVEN_F(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD_F(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define ROTATE(a) __builtin_shufflevector(a, a, 1, 0)
#define EVEN_D(a, b) __builtin_shufflevector(a, b, 0, 2)
#define ODD_D(a, b) __builtin_shufflevector(a, b, 1, 3)
#define EVEN_F(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD_F(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#endif

INLINE VD splat(double x) { return x - (VD){0}; }

/* mask is a comparison: all ones or zeros in each lane. */
INLINE VD pick(VI mask, VD yes, VD no) {
    return (VD)(((VI)yes & mask) | ((VI)no & ~mask));
}

INLINE VD root(VD x) {
    VD y;
    for (int i = 0; i < WD; i++)
        y[i] = sqrt(x[i]);
    return y;
}

/* What the next item will read, fetched piece by piece while the passes over this one compute;
 * none where it would push this one out of the second-level cache. */
typedef struct {
    const char *at;
    ptrdiff_t bytes; /* in a pass */
} hf_ahead;

INLINE hf_ahead look_ahead(const void *at, ptrdiff_t bytes, int passes) {
    return (hf_ahead){at, bytes <= 262144 ? bytes / passes : 0};
}

INLINE void fetch(hf_ahead *ahead, ptrdiff_t part, ptrdiff_t whole) {
    const char *end = ahead->at + ahead->bytes * part / whole;
    for (; ahead->at < end; ahead->at += 64)
        __builtin_prefetch(ahead->at);
}

/* Starts fetching a small array, to be read or to be written. */
INLINE void touch(const void *at, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes && bytes <= 16384; i += 64)
        __builtin_prefetch((const char *)at + i);
}

INLINE void claim(void *at, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes && bytes <= 16384; i += 64)
        __builtin_prefetch((char *)at + i, 1);
}

INLINE ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t to) { return (n + to - 1) / to * to; }

/* log(1 + x) for x >= 0 to about one ulp; NaN and infinity pass through.
 *
 * u = 1 + x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = 2 atanh(s),
 * s = f / (2 + f), by a polynomial in s^2 (the coefficients of its truncated series
 * refitted on |s| <= 0.1716, as in every libm); the rounding of 1 + x is put back as
 * (x - (u - 1)) / u. */
INLINE VD log1p_vd(VD x) {
    const VD u = x + 1.0;
    const VD lost = pick(x < 1e15, x - (u - 1.0), splat(0));
    const VU bits = (VU)u + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
    const VI exponent = (VI)(bits >> 52) - 1023;
    const VD f = (VD)((bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd) - 1.0;
    const VD e = __builtin_convertvector(exponent, VD);
    const VD s = f / (f + 2.0);
    const VD z = s * s;
    VD p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01;
    p = z * p + 1.818357216161805012e-01;
    p = z * p + 2.222219843214978396e-01;
    p = z * p + 2.857142874366239149e-01;
    p = z * p + 3.999999999940941908e-01;
    p = z * p + 6.666666666666735130e-01;
    p = z * p;
    const VD half = 0.5 * f * f;
    const VD low = s * (half + p) + (e * 1.90821492927058770002e-10 + lost / u);
    const VD r = e * 6.93147180369123816490e-01 - ((half - low) - f);
    return pick(x < INFINITY, r, x + x);
}

#endif
