/* K x K and K x L algebra in double precision.
 *
 * A complex matrix is planar, as in passes.inc.h: rows of re[ld] then im[ld], ld a multiple
 * of WD, 64-byte aligned, padded with zeros.  Vectors run along rows, so that nothing here
 * adds up lanes; one matrix of the call may be the result only where a function says so.
 */
#ifndef HF_SMALL_H
#define HF_SMALL_H

#include "vec.h"

#define RE(a, r, ld) ((a) + 2 * (r) * (ld))
#define IM(a, r, ld) ((a) + (2 * (r) + 1) * (ld))

typedef ptrdiff_t idx;

INLINE VD load(const double *p) { return *(const VD *)p; }
INLINE void store(double *p, VD v) { *(VD *)p = v; }

/* CALL(n) with n as a constant for the usual sizes, so that loops over n unroll and a matrix of one
 * vector a row stays in registers; 0 stands for any other. */
#define CONSTANT_SIZE(n, CALL) \
    switch (n) {               \
    case 1: CALL(1); break;    \
    case 2: CALL(2); break;    \
    case 3: CALL(3); break;    \
    case 4: CALL(4); break;    \
    case 5: CALL(5); break;    \
    case 6: CALL(6); break;    \
    case 7: CALL(7); break;    \
    case 8: CALL(8); break;    \
    default: CALL(0); break;   \
    }
/* The same for a matrix whose rows are one vector. */
#define CONSTANT_MATRIX(n, ld, CALL) CONSTANT_SIZE((ld) == WD ? n : 0, CALL)
#define MOST_CONSTANT 8
#define UNROLLED _Pragma("GCC unroll 8")

/* Lane i of v in all lanes. */
INLINE VD lane(VD v, int i) {
#ifdef __clang__
    return splat(v[i]);
#else
    return __builtin_shuffle(v, (VI){0} + i);
#endif
}

/* Mask of lane i; of none where i is not a lane. */
INLINE VI only(idx i) {
    static const int64_t lanes[8] __attribute__((aligned(64))) = {0, 1, 2, 3, 4, 5, 6, 7};
    return *(const VI *)lanes == (VI){0} + i;
}

static void clear(idx rows, idx ld, double *a) {
    memset(a, 0, (size_t)(2 * rows * ld) * sizeof(double));
}

/* Turns a block of WD rows of one vector: each round of perfect shuffles moves one bit of the
 * lane's number to the row's. */
INLINE void turn(VD *block) {
    VD next[WD];
    for (int bit = 1; bit < WD; bit *= 2) {
        UNROLLED
        for (int i = 0; i < WD / 2; i++) {
            next[i] = EVEN_D(block[2 * i], block[2 * i + 1]);
            next[i + WD / 2] = ODD_D(block[2 * i], block[2 * i + 1]);
        }
        UNROLLED
        for (int i = 0; i < WD; i++)
            block[i] = next[i];
    }
}

/* to = from^T (columns x rows) of ld_to, from (rows x columns) of ld_from, with imaginary parts
 * times sign. */
INLINE void turn_all(const double sign, idx rows, idx columns, const double *restrict from,
                     idx ld_from, double *restrict to, idx ld_to) {
    for (idx c = 0; c < columns; c += WD)
        for (idx r = 0; r < ld_to; r += WD)
            for (int part = 0; part < 2; part++) {
                VD block[WD];
                UNROLLED
                for (idx j = 0; j < WD; j++)
                    if (r + j < rows)
                        block[j] = load(from + (2 * (r + j) + part) * ld_from + c);
                    else
                        block[j] = (VD){0};
                turn(block);
                UNROLLED
                for (idx j = 0; j < WD; j++)
                    if (c + j < columns)
                        store(to + (2 * (c + j) + part) * ld_to + r,
                              (part ? sign : 1) * block[j]);
            }
}

/* to = from^H, (columns x rows) of ld_to from (rows x columns) of ld_from. */
static void dagger(idx rows, idx columns, const double *restrict from, idx ld_from,
                   double *restrict to, idx ld_to) {
    turn_all(-1, rows, columns, from, ld_from, to, ld_to);
}

/* to = from^T, n x n. */
static void transpose(idx n, idx ld, const double *restrict from, double *restrict to) {
    turn_all(1, n, n, from, ld, to, ld);
}

/* out_r = sum_i a_ri b_i on lanes [at, at + WD) of `rows` (a constant) rows; a_ri is at
 * a + r * row + i * column, conjugated where sign is -1. */
INLINE void multiply_block(const int rows, const double sign, const idx inner,
                           const double *restrict a, idx row, idx column, idx imaginary,
                           const double *restrict b, idx ld, double *restrict out) {
    VD re[MOST_ROWS], im[MOST_ROWS];
    for (int r = 0; r < rows; r++)
        re[r] = im[r] = (VD){0};
    UNROLLED
    for (idx i = 0; i < inner; i++) {
        const VD b_re = load(RE(b, i, ld)), b_im = load(IM(b, i, ld));
        for (int r = 0; r < rows; r++) {
            const double *entry = a + r * row + i * column;
            const double a_re = entry[0], a_im = sign * entry[imaginary];
            re[r] += a_re * b_re;
            im[r] += a_re * b_im;
            re[r] -= a_im * b_im;
            im[r] += a_im * b_re;
        }
    }
    for (int r = 0; r < rows; r++) {
        store(RE(out, r, ld), re[r]);
        store(IM(out, r, ld), im[r]);
    }
}

INLINE void multiply_any(const double sign, idx rows, const idx inner, const double *restrict a,
                         idx row, idx column, idx imaginary, const double *restrict b, idx ld,
                         double *restrict out) {
    for (idx r = 0; r < rows; r += MOST_ROWS) {
        const idx these = rows - r < MOST_ROWS ? rows - r : MOST_ROWS;
        const double *a_r = a + r * row;
        for (idx at = 0; at < ld; at += WD) {
            double *to = RE(out, r, ld) + at;
#define CALL(constant) \
    multiply_block(constant, sign, inner, a_r, row, column, imaginary, b + at, ld, to)
            CONSTANT_ROWS(these, CALL)
#undef CALL
        }
    }
}

/* out (rows x ld) = a (rows x inner) b (inner x ld). */
static void multiply(idx rows, idx inner, const double *restrict a, idx ld_a,
                     const double *restrict b, idx ld, double *restrict out) {
#define CALL(n)                                                                            \
    n ? multiply_any(1, rows, n, a, 2 * WD, 1, WD, b, WD, out)                             \
      : multiply_any(1, rows, inner, a, 2 * ld_a, 1, ld_a, b, ld, out)
    CONSTANT_MATRIX(inner, ld_a > ld ? ld_a : ld, CALL)
#undef CALL
}

/* out (rows x ld) = a^H b with a (inner x rows), b (inner x ld). */
static void multiply_dagger(idx rows, idx inner, const double *restrict a, idx ld_a,
                            const double *restrict b, idx ld, double *restrict out) {
#define CALL(n)                                                                            \
    n ? multiply_any(-1, rows, n, a, 1, 2 * WD, WD, b, WD, out)                            \
      : multiply_any(-1, rows, inner, a, 1, 2 * ld_a, ld_a, b, ld, out)
    CONSTANT_MATRIX(inner, ld_a > ld ? ld_a : ld, CALL)
#undef CALL
}

static void scale(idx rows, idx ld, double factor, double *a) {
    for (idx i = 0; i < 2 * rows * ld; i += WD)
        store(a + i, factor * load(a + i));
}

static double add_up(VD v) {
    for (int width = WD; width > 1; width /= 2)
        v = EVEN_D(v, v) + ODD_D(v, v);
    return v[0];
}

/* Re tr(a^H b) over all entries. */
static double inner_product(idx rows, idx ld, const double *a, const double *b) {
    VD sum = {0};
    for (idx i = 0; i < 2 * rows * ld; i += WD)
        sum += load(a + i) * load(b + i);
    return add_up(sum);
}

static double norm2(idx rows, idx ld, const double *a) { return inner_product(rows, ld, a, a); }

/* row_i -= (re + j im) row_j on lanes [from, ld). */
INLINE void subtract_row(double re, double im, const double *restrict row_re,
                         const double *restrict row_im, double *restrict to_re,
                         double *restrict to_im, idx from, idx ld) {
    for (idx at = from; at < ld; at += WD) {
        const VD x_re = load(row_re + at), x_im = load(row_im + at);
        store(to_re + at, load(to_re + at) - re * x_re + im * x_im);
        store(to_im + at, load(to_im + at) - re * x_im - im * x_re);
    }
}

INLINE void scale_row(double factor, double *re, double *im, idx from, idx ld) {
    for (idx at = from; at < ld; at += WD) {
        store(re + at, factor * load(re + at));
        store(im + at, factor * load(im + at));
    }
}

/* Completes a Hermitian matrix from its upper triangle. */
static void mirror(idx n, idx ld, double *a) {
    for (idx r = 1; r < n; r++)
        for (idx c = 0; c < r; c++) {
            RE(a, r, ld)[c] = RE(a, c, ld)[r];
            IM(a, r, ld)[c] = -IM(a, c, ld)[r];
        }
}

/* One vector of each of n rows in registers. */
#define LOAD_ROWS(n, a, ld)                            \
    VD re[MOST_CONSTANT], im[MOST_CONSTANT];           \
    UNROLLED                                           \
    for (int r = 0; r < n; r++) {                      \
        re[r] = load(RE(a, r, ld));                    \
        im[r] = load(IM(a, r, ld));                    \
    }

/* Largest entry of a diagonal, at least 0, from its rows. */
INLINE double most(const int n, const VD *rows) {
    VD largest = {0};
    UNROLLED
    for (int j = 0; j < n; j++) {
        const VD entry = lane(rows[j], j);
        largest = pick(entry > largest, entry, largest);
    }
    return largest[0];
}

/* a = L D L^H for Hermitian a: L^H - I is left above the diagonal and D^{-1/2} on it, what is
 * below is rubbish.  With U = D^{1/2} L^H this is a = U^H U, but no pivot waits for a root.
 * Returns the smallest pivot over the largest diagonal entry: not above 0, or NaN, is failure. */
INLINE double factor_registers(const int n, double *a) {
    LOAD_ROWS(n, a, WD)
    const double largest = most(n, re);
    VD smallest = splat(INFINITY);
    UNROLLED
    for (int j = 0; j < n; j++) {
        const VD pivot = lane(re[j], j), inverse = 1 / pivot;
        smallest = pick(pivot >= smallest, smallest, pivot);
        UNROLLED
        for (int i = j + 1; i < n; i++) {
            const VD f_re = lane(re[j], i), f_im = lane(im[j], i); /* conjugated */
            re[i] -= inverse * (f_re * re[j] + f_im * im[j]);
            im[i] -= inverse * (f_re * im[j] - f_im * re[j]);
        }
        store(RE(a, j, WD), re[j] * inverse);
        store(IM(a, j, WD), im[j] * inverse);
        RE(a, j, WD)[j] = sqrt(inverse[0]);
    }
    return smallest[0] / largest;
}

static double factor_any(idx n, idx ld, double *a) {
    double largest = 0, smallest = INFINITY;
    for (idx j = 0; j < n; j++)
        largest = RE(a, j, ld)[j] > largest ? RE(a, j, ld)[j] : largest;
    for (idx j = 0; j < n; j++) {
        double *re = RE(a, j, ld), *im = IM(a, j, ld);
        const double pivot = re[j], inverse = 1 / pivot;
        if (!(pivot > 0))
            return pivot;
        smallest = pivot < smallest ? pivot : smallest;
        for (idx i = j + 1; i < n; i++)
            subtract_row(re[i] * inverse, -im[i] * inverse, re, im, RE(a, i, ld), IM(a, i, ld),
                         i / WD * WD, ld);
        scale_row(inverse, re, im, j / WD * WD, ld);
        re[j] = sqrt(inverse);
    }
    return smallest / largest;
}

static double factor(idx n, idx ld, double *a) {
#define CALL(constant) return constant && constant <= WD ? factor_registers(constant, a) : factor_any(n, ld, a)
    CONSTANT_MATRIX(n, ld, CALL)
#undef CALL
}

INLINE void solve_lower_registers(const int n, const double *restrict u, double *restrict b) {
    LOAD_ROWS(n, b, WD)
    UNROLLED
    for (int j = 0; j < n; j++) {
        const double *u_re = RE(u, j, WD), *u_im = IM(u, j, WD);
        UNROLLED
        for (int i = j + 1; i < n; i++) {
            re[i] -= u_re[i] * re[j];
            im[i] -= u_re[i] * im[j];
            re[i] -= u_im[i] * im[j];
            im[i] += u_im[i] * re[j];
        }
        store(RE(b, j, WD), u_re[j] * re[j]);
        store(IM(b, j, WD), u_re[j] * im[j]);
    }
}

static void solve_lower_any(idx n, const double *restrict u, idx ld_u, idx ld,
                            double *restrict b) {
    for (idx j = 0; j < n; j++) {
        double *re = RE(b, j, ld), *im = IM(b, j, ld);
        for (idx i = j + 1; i < n; i++)
            subtract_row(RE(u, j, ld_u)[i], -IM(u, j, ld_u)[i], re, im, RE(b, i, ld),
                         IM(b, i, ld), 0, ld);
        scale_row(RE(u, j, ld_u)[j], re, im, 0, ld);
    }
}

/* b = U^{-H} b, with U from factor(). */
static void solve_lower(idx n, const double *restrict u, idx ld_u, idx ld, double *restrict b) {
#define CALL(constant)                                                      \
    constant ? solve_lower_registers(constant, u, b) : solve_lower_any(n, u, ld_u, ld, b)
    CONSTANT_MATRIX(n, ld_u > ld ? ld_u : ld, CALL)
#undef CALL
}

INLINE void solve_upper_registers(const int n, const double *restrict u, double *restrict b) {
    LOAD_ROWS(n, b, WD)
    UNROLLED
    for (int i = 0; i < n; i++) {
        re[i] *= RE(u, i, WD)[i];
        im[i] *= RE(u, i, WD)[i];
    }
    UNROLLED
    for (int j = n - 1; j >= 0; j--) {
        UNROLLED
        for (int i = 0; i < j; i++) {
            const double u_re = RE(u, i, WD)[j], u_im = IM(u, i, WD)[j];
            re[i] -= u_re * re[j];
            im[i] -= u_re * im[j];
            re[i] += u_im * im[j];
            im[i] -= u_im * re[j];
        }
        store(RE(b, j, WD), re[j]);
        store(IM(b, j, WD), im[j]);
    }
}

static void solve_upper_any(idx n, const double *restrict u, idx ld_u, idx ld,
                            double *restrict b) {
    for (idx j = 0; j < n; j++)
        scale_row(RE(u, j, ld_u)[j], RE(b, j, ld), IM(b, j, ld), 0, ld);
    for (idx j = n; j-- > 0;)
        for (idx i = 0; i < j; i++)
            subtract_row(RE(u, i, ld_u)[j], IM(u, i, ld_u)[j], RE(b, j, ld), IM(b, j, ld),
                         RE(b, i, ld), IM(b, i, ld), 0, ld);
}

/* b = U^{-1} b. */
static void solve_upper(idx n, const double *restrict u, idx ld_u, idx ld, double *restrict b) {
#define CALL(constant)                                                      \
    constant ? solve_upper_registers(constant, u, b) : solve_upper_any(n, u, ld_u, ld, b)
    CONSTANT_MATRIX(n, ld_u > ld ? ld_u : ld, CALL)
#undef CALL
}

/* a^{-1} in place of a Hermitian positive matrix of one vector a row, without pivoting
 * (Gauss-Jordan); row_i -= a_ij / a_jj row_j, where only the last step waits for the quotient. */
INLINE double invert_registers(const int n, double *a) {
    LOAD_ROWS(n, a, WD)
    const double largest = most(n, re);
    VD smallest = splat(INFINITY);
    UNROLLED
    for (int j = 0; j < n; j++) {
        const VI here = only(j);
        const VD pivot = lane(re[j], j), inverse = 1 / pivot, zero = {0};
        smallest = pick(pivot >= smallest, smallest, pivot);
        re[j] = pick(here, zero + 1, re[j]);
        im[j] = pick(here, zero, im[j]);
        UNROLLED
        for (int i = 0; i < n; i++) {
            if (i == j)
                continue;
            const VD f_re = lane(re[i], j), f_im = lane(im[i], j);
            re[i] = pick(here, zero, re[i]) - inverse * (f_re * re[j] - f_im * im[j]);
            im[i] = pick(here, zero, im[i]) - inverse * (f_re * im[j] + f_im * re[j]);
        }
        re[j] *= inverse;
        im[j] *= inverse;
    }
    UNROLLED
    for (int r = 0; r < n; r++) {
        store(RE(a, r, WD), re[r]);
        store(IM(a, r, WD), im[r]);
    }
    return smallest[0] / largest;
}

static double invert_any(idx n, idx ld, double *a, double *inverse) {
    const double pivots = factor(n, ld, a);
    clear(n, ld, inverse);
    for (idx k = 0; k < n; k++)
        RE(inverse, k, ld)[k] = 1;
    solve_lower(n, a, ld, ld, inverse);
    solve_upper(n, a, ld, ld, inverse);
    memcpy(a, inverse, (size_t)(2 * n * ld) * sizeof(double));
    return pivots;
}

/* a^{-1} in place of Hermitian a; work: as large.  Returns what factor() does. */
static double invert_positive(idx n, idx ld, double *a, double *work) {
#define CALL(constant)                                                  \
    return constant && constant <= WD ? invert_registers(constant, a) \
                                      : invert_any(n, ld, a, work)
    CONSTANT_MATRIX(n, ld, CALL)
#undef CALL
}

/* Minimum-norm inverse by one-sided Jacobi, for what factor() cannot take: the rows of a are
 * rotated until they are orthogonal, J a = Q with rows of norm s, so a^+ = (Q / s^2)^H J.
 * Leaves Q / s^2 in place of a, and J in j (rows x ld_j); an s under tolerance * the largest
 * counts as zero.  Returns the rank. */
static idx jacobi_inverse(idx rows, idx ld, double tolerance, double *a, double *j, idx ld_j) {
    clear(rows, ld_j, j);
    double largest = 0;
    for (idx r = 0; r < rows; r++) {
        RE(j, r, ld_j)[r] = 1;
        largest = fmax(largest, norm2(1, ld, RE(a, r, ld)));
    }
    const double nothing = 1e-40 * largest; /* rotating on would end in denormal numbers */
    for (int sweep = 0, rotated = 1; rotated && sweep < 60; sweep++) {
        rotated = 0;
        for (idx p = 0; p < rows; p++)
            for (idx q = p + 1; q < rows; q++) {
                double *p_re = RE(a, p, ld), *p_im = IM(a, p, ld);
                double *q_re = RE(a, q, ld), *q_im = IM(a, q, ld);
                double pp = 0, qq = 0, re = 0, im = 0; /* re + j im = <row_q, row_p> */
                for (idx i = 0; i < ld; i++) {
                    pp += p_re[i] * p_re[i] + p_im[i] * p_im[i];
                    qq += q_re[i] * q_re[i] + q_im[i] * q_im[i];
                    re += p_re[i] * q_re[i] + p_im[i] * q_im[i];
                    im += p_im[i] * q_re[i] - p_re[i] * q_im[i];
                }
                const double size = sqrt(re * re + im * im);
                if (!(size > 1e-15 * sqrt(pp) * sqrt(qq)) || !(pp > nothing && qq > nothing))
                    continue;
                rotated = 1;
                const double zeta = (qq - pp) / (2 * size);
                const double t = (zeta < 0 ? -1.0 : 1.0) / (fabs(zeta) + sqrt(1 + zeta * zeta));
                const double c = 1 / sqrt(1 + t * t), s = c * t;
                const double w_re = re / size, w_im = im / size;
                double *rows_p[] = {p_re, RE(j, p, ld_j)}, *rows_q[] = {q_re, RE(j, q, ld_j)};
                const idx lengths[] = {ld, ld_j};
                for (int m = 0; m < 2; m++)
                    for (idx i = 0; i < lengths[m]; i++) {
                        double *x = rows_p[m] + i, *y = rows_q[m] + i;
                        const idx l = lengths[m];
                        const double y_re = w_re * y[0] - w_im * y[l];
                        const double y_im = w_re * y[l] + w_im * y[0];
                        const double x_re = x[0], x_im = x[l];
                        x[0] = c * x_re - s * y_re;
                        x[l] = c * x_im - s * y_im;
                        y[0] = s * x_re + c * y_re;
                        y[l] = s * x_im + c * y_im;
                    }
            }
    }
    for (idx r = 0; r < rows; r++)
        largest = fmax(largest, norm2(1, ld, RE(a, r, ld)));
    idx rank = 0;
    for (idx r = 0; r < rows; r++) {
        const double size2 = norm2(1, ld, RE(a, r, ld));
        const int counts = sqrt(size2) > tolerance * sqrt(largest);
        rank += counts;
        scale(1, ld, counts ? 1 / size2 : 0, RE(a, r, ld));
    }
    return rank;
}

#endif
