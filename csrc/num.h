/* The kinds of number that one source is compiled for.
 *
 * A `num` is a real number of one problem, in as many problems as there are lanes:
 *
 *     HF_LONE     num = double            one problem
 *     HF_DOUBLES  num = W doubles         lane i belongs to problem i
 *     HF_FLOATS   num = W floats          the same in single precision
 *
 * A `vec` is one register.  Arrays over the elements of the surface are arrays of vec in every
 * kind: a pack has one element of W problems in each, a lone problem W of its elements.  So a loop
 * over elements reads the same, `spread` brings a num to such a loop, and `total` brings a sum
 * over elements back.
 */
#ifndef HF_NUM_H
#define HF_NUM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* A loop whose bounds are constants once it is inlined. */
#define UNROLLED _Pragma("GCC unroll 32")
/* The same where they may also be larger sizes, of which Clang would warn. */
#ifdef __clang__
#define FEW
#else
#define FEW _Pragma("GCC unroll 8")
#endif
#define UNUSED __attribute__((unused))

#if defined(__AVX512F__)
#define VBYTES 64
#define REGISTERS 32
#elif defined(__AVX__)
#define VBYTES 32
#define REGISTERS 16
#else
#define VBYTES 16
#ifdef __aarch64__
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#endif

#ifdef HF_FLOATS
typedef float real;
typedef int32_t whole;
typedef uint32_t bits;
#define SIGN_BIT 0x80000000u
#define ONE_BITS 0x3f800000u
#define ROOT_HALF_BITS 0x3f3504f3u
#define MANTISSA_BITS 23
#define EPSILON 1.1920929e-07f
#define HUGE_REAL 3e38f
#else
typedef double real;
typedef int64_t whole;
typedef uint64_t bits;
#define SIGN_BIT 0x8000000000000000u
#define ONE_BITS 0x3ff0000000000000u
#define ROOT_HALF_BITS 0x3fe6a09e667f3bcdu
#define MANTISSA_BITS 52
#define EPSILON 2.220446049250313e-16
#define HUGE_REAL 1e300
#endif

typedef ptrdiff_t idx;

#define W (VBYTES / (int)sizeof(real))
typedef real vec __attribute__((vector_size(VBYTES), may_alias));
typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));
typedef whole lanes __attribute__((vector_size(VBYTES), may_alias)); /* a comparison of vecs */
typedef bits bit_vec __attribute__((vector_size(VBYTES), may_alias));

#ifdef HF_LONE
#define LANES 1
typedef real num;
typedef int mask; /* a comparison of nums */
#else
#define LANES W
typedef vec num;
typedef lanes mask;
#endif

typedef struct {
    num re, im;
} cpx;
typedef struct {
    vec re, im;
} cvec;
typedef struct {
    real re, im;
} creal;

/* A complex number as a factor in the passes, by its real part, its imaginary part and their sum.
 * Products part by part make a complex product with three real ones in place of four (Gauss):
 * (a + jb)(c + jd) = ac - bd + j((a + b)(c + d) - ac - bd). */
typedef struct {
    vec part[3];
} cparts;
typedef struct {
    real part[3];
} rparts;
typedef struct {
    num part[3];
} nparts;

#define NUM(x) ((num){0} + (real)(x))
#define VEC(x) ((real)(x) - (vec){0})

INLINE cparts parts_of(vec re, vec im) { return (cparts){{re, im, re + im}}; }
INLINE cvec whole_of(cparts a) {
    return (cvec){a.part[0] - a.part[1], a.part[2] - (a.part[0] + a.part[1])};
}

INLINE idx least(idx a, idx b) { return a < b ? a : b; }
INLINE idx most(idx a, idx b) { return a > b ? a : b; }
INLINE idx round_up(idx n, idx to) { return (n + to - 1) / to * to; }

INLINE vec choose(lanes which, vec yes, vec no) {
    return (vec)(((lanes)yes & which) | ((lanes)no & ~which));
}

/* The same where one answer holds for all lanes. */
INLINE vec either(int which, vec yes, vec no) {
    if (which)
        return yes;
    return no;
}

/* Lanes index(0), index(1), ... of the 2 W lanes of (a, b). */
#ifdef __clang__
#define SHUFFLE(a, b, index) __builtin_shufflevector(a, b, EACH_LANE(index))
#else
#define SHUFFLE(a, b, index) __builtin_shuffle(a, b, (lanes){EACH_LANE(index)})
#endif
#define EACH_2(f, i) f((i)), f((i) + 1)
#define EACH_4(f, i) EACH_2(f, i), EACH_2(f, (i) + 2)
#define EACH_8(f, i) EACH_4(f, i), EACH_4(f, (i) + 4)
#define EACH_16(f, i) EACH_8(f, i), EACH_8(f, (i) + 8)
#if defined(HF_FLOATS) && VBYTES == 64
#define EACH_LANE(f) EACH_16(f, 0)
#elif (VBYTES == 32 && defined(HF_FLOATS)) || VBYTES == 64
#define EACH_LANE(f) EACH_8(f, 0)
#elif defined(HF_FLOATS) || VBYTES == 32
#define EACH_LANE(f) EACH_4(f, 0)
#else
#define EACH_LANE(f) EACH_2(f, 0)
#endif
/* Even and odd lanes of (a, b), and even and odd units of 16 bytes. */
#define UNIT (16 / (int)sizeof(real))
#define EVEN_LANE(i) (2 * (i))
#define ODD_LANE(i) (2 * (i) + 1)
#define EVEN_UNIT(i) ((i) / UNIT * 2 * UNIT + (i) % UNIT)
#define ODD_UNIT(i) (EVEN_UNIT(i) + UNIT)
/* Lower and upper halves of the units of a and b, interleaved. */
#define LOWER_HALF(i) ((i) % 2 * W + (i) / UNIT * UNIT + (i) % UNIT / 2)
#define UPPER_HALF(i) (LOWER_HALF(i) + UNIT / 2)

/* W x W transposition: each round exchanges one bit of the lane's number for one of the row's, first
 * within units and then across them.  Where bit d of i is clear, i | d is i + d, and GCC sees that it is
 * below W. */
INLINE void turn(vec *block) {
    for (int d = UNIT / 2; d >= 1; d /= 2)
        for (int i = 0; i < W; i++)
            if (!(i & d)) {
                const vec a = block[i], b = block[i | d];
                block[i] = SHUFFLE(a, b, LOWER_HALF);
                block[i | d] = SHUFFLE(a, b, UPPER_HALF);
            }
    for (int d = UNIT; d < W; d *= 2)
        for (int i = 0; i < W; i++)
            if (!(i & d)) {
                const vec a = block[i], b = block[i | d];
                block[i] = SHUFFLE(a, b, EVEN_UNIT);
                block[i | d] = SHUFFLE(a, b, ODD_UNIT);
            }
}

INLINE vec root_vec(vec x) {
    vec y;
    for (int i = 0; i < W; i++)
#ifdef HF_FLOATS
        y[i] = sqrtf(x[i]);
#else
        y[i] = sqrt(x[i]);
#endif
    return y;
}

#ifdef HF_LONE

INLINE num pick(mask which, num yes, num no) { return which ? yes : no; }
INLINE int any(mask which) { return which; }
INLINE lanes spread_mask(mask which) { return (lanes){0} - (whole)(which != 0); }
INLINE vec spread(num x) { return VEC(x); }
INLINE num root(num x) { return sqrt(x); }
INLINE real get(num x, idx lane) { return (void)lane, x; }
INLINE int holds(mask which, idx lane) { return (void)lane, which; }
INLINE void set(num *x, idx lane, real to) { (void)lane, *x = to; }

/* The sum over the lanes of each of `count` vecs. */
INLINE void totals(const int count, const vec *sums, num *to) {
    for (int at = 0; at < count; at += W) {
        vec level[W];
        for (int i = 0; i < W; i++)
            level[i] = at + i < count ? sums[at + i] : (vec){0};
        for (int width = W / 2; width >= 1; width /= 2)
            for (int i = 0; i < width; i++)
                level[i] = SHUFFLE(level[2 * i], level[2 * i + 1], EVEN_LANE) +
                           SHUFFLE(level[2 * i], level[2 * i + 1], ODD_LANE);
        for (int i = 0; i < W && at + i < count; i++)
            to[at + i] = level[0][i];
    }
}

INLINE num total(vec x) {
    real sum = 0;
    for (int i = 0; i < W; i++)
        sum += x[i];
    return sum;
}

INLINE num largest(vec x) {
    real top = x[0];
    for (int i = 1; i < W; i++)
        top = x[i] > top || x[i] != x[i] ? x[i] : top; /* NaN stays */
    return top;
}

#else

INLINE num pick(mask which, num yes, num no) { return choose(which, yes, no); }
INLINE int any(mask which) {
    whole found = 0;
    for (int i = 0; i < W; i++)
        found |= which[i];
    return found != 0;
}
INLINE lanes spread_mask(mask which) { return which; }
INLINE vec spread(num x) { return x; }
INLINE num root(num x) { return root_vec(x); }
INLINE real get(num x, idx lane) { return x[lane]; }
INLINE int holds(mask which, idx lane) { return which[lane] != 0; }
INLINE void set(num *x, idx lane, real to) { (*x)[lane] = to; }
INLINE void totals(const int count, const vec *sums, num *to) {
    UNROLLED
    for (int i = 0; i < count; i++)
        to[i] = sums[i];
}
INLINE num total(vec x) { return x; }
INLINE num largest(vec x) { return x; }

#endif

INLINE mask not(mask which) { return which == 0; }
INLINE int all(mask which) { return !any(not(which)); }
INLINE num larger(num a, num b) { return pick(a > b, a, b); }
INLINE num smaller(num a, num b) { return pick(a < b, a, b); }
INLINE vec clip(vec x, vec top) {
    const vec low = choose(x < (vec){0}, (vec){0}, x);
    return choose(low > top, top, low);
}
INLINE mask is_finite(num x) { return x - x == NUM(0); }
/* The mask of every lane, or of none. */
INLINE mask every(int yes) { return NUM(yes) > NUM(0); }

/* log(1 + x) for x >= 0 to about one ulp; NaN and infinity pass through.
 *
 * u = 1 + x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = 2 atanh(s),
 * s = f / (2 + f), by a polynomial in s^2 (the coefficients of its truncated series
 * refitted on |s| <= 0.1716, as in every libm); the rounding of 1 + x is put back as
 * (x - (u - 1)) / u. */
INLINE vec log1p_vec(vec x) {
    const vec u = x + 1;
    const vec lost = choose(x < (real)1e15, x - (u - 1), (vec){0});
    const bit_vec moved = (bit_vec)u + (ONE_BITS - ROOT_HALF_BITS);
    const lanes exponent = (lanes)(moved >> MANTISSA_BITS) - (whole)(ONE_BITS >> MANTISSA_BITS);
    const bit_vec mantissa = moved & (((bits)1 << MANTISSA_BITS) - 1);
    const vec f = (vec)(mantissa + ROOT_HALF_BITS) - 1;
    const vec e = __builtin_convertvector(exponent, vec);
    const vec s = f / (f + 2);
    const vec z = s * s;
    vec p = z * (real)1.479819860511658591e-01 + (real)1.531383769920937332e-01;
    p = z * p + (real)1.818357216161805012e-01;
    p = z * p + (real)2.222219843214978396e-01;
    p = z * p + (real)2.857142874366239149e-01;
    p = z * p + (real)3.999999999940941908e-01;
    p = z * p + (real)6.666666666666735130e-01;
    p = z * p;
    const vec half = (real)0.5 * f * f;
    const vec low = s * (half + p) + (e * (real)1.90821492927058770002e-10 + lost / u);
    const vec r = e * (real)6.93147180369123816490e-01 - ((half - low) - f);
    return choose(x < (real)INFINITY, r, x + x);
}

#ifdef HF_LONE
INLINE num log_plus_one(num x) { return log1p(x); }
#else
INLINE num log_plus_one(num x) { return log1p_vec(x); }
#endif

/* log(a / b) of positive numbers. */
INLINE num log_ratio(num a, num b) {
    const mask up = a > b;
    const num size = log_plus_one(pick(up, a / b, b / a) - 1);
    return pick(up, size, -size);
}

/* exp(x), lane by lane, by expm1, whose symbol is the same in every glibc. */
INLINE num exponential(num x) {
    num y = x;
    for (idx lane = 0; lane < LANES; lane++) {
        const double power = (double)get(x, lane), size = 1 + expm1(fabs(power));
        set(&y, lane, (real)(power < 0 ? 1 / size : size));
    }
    return y;
}

#endif
