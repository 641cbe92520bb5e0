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

static void clear(idx rows, idx ld, double *a) {
    memset(a, 0, (size_t)(2 * rows * ld) * sizeof(double));
}

/* to = from^H, (columns x rows) of ld_to from (rows x columns) of ld_from. */
static void dagger(idx rows, idx columns, const double *restrict from, idx ld_from,
                   double *restrict to, idx ld_to) {
    clear(columns, ld_to, to);
    for (idx c = 0; c < columns; c++)
        for (idx r = 0; r < rows; r++) {
            RE(to, c, ld_to)[r] = RE(from, r, ld_from)[c];
            IM(to, c, ld_to)[r] = -IM(from, r, ld_from)[c];
        }
}

/* out_r = sum_i a_ri b_i on lanes [at, at + WD) of `rows` (a constant) rows; a_ri is at
 * a + r * row + i * column, conjugated where sign is -1. */
INLINE void multiply_block(const int rows, const double sign, idx inner, const double *restrict a,
                           idx row, idx column, idx imaginary, const double *restrict b, idx ld,
                           double *restrict out) {
    VD re[3], im[3];
    for (int r = 0; r < rows; r++)
        re[r] = im[r] = (VD){0};
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

INLINE void multiply_any(const double sign, idx rows, idx inner, const double *restrict a, idx row,
                         idx column, idx imaginary, const double *restrict b, idx ld,
                         double *restrict out) {
    for (idx r = 0; r < rows; r += 3) {
        const double *a_r = a + r * row;
        for (idx at = 0; at < ld; at += WD) {
            double *to = RE(out, r, ld) + at;
            if (rows - r >= 3)
                multiply_block(3, sign, inner, a_r, row, column, imaginary, b + at, ld, to);
            else if (rows - r == 2)
                multiply_block(2, sign, inner, a_r, row, column, imaginary, b + at, ld, to);
            else
                multiply_block(1, sign, inner, a_r, row, column, imaginary, b + at, ld, to);
        }
    }
}

/* out (rows x ld) = a (rows x inner) b (inner x ld). */
static void multiply(idx rows, idx inner, const double *restrict a, idx ld_a,
                     const double *restrict b, idx ld, double *restrict out) {
    multiply_any(1, rows, inner, a, 2 * ld_a, 1, ld_a, b, ld, out);
}

/* out (rows x ld) = a^H b with a (inner x rows), b (inner x ld). */
static void multiply_dagger(idx rows, idx inner, const double *restrict a, idx ld_a,
                            const double *restrict b, idx ld, double *restrict out) {
    multiply_any(-1, rows, inner, a, 1, 2 * ld_a, ld_a, b, ld, out);
}

/* to = from^T, n x n. */
static void transpose(idx n, idx ld, const double *restrict from, double *restrict to) {
    clear(n, ld, to);
    for (idx r = 0; r < n; r++)
        for (idx c = 0; c < n; c++) {
            RE(to, c, ld)[r] = RE(from, r, ld)[c];
            IM(to, c, ld)[r] = IM(from, r, ld)[c];
        }
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

/* a = L D L^H for Hermitian a: L^H - I is left above the diagonal and D^{-1/2} on it, what is
 * below is rubbish.  With U = D^{1/2} L^H this is a = U^H U, but no pivot waits for a root.
 * Returns the smallest pivot over the largest diagonal entry: not above 0, or NaN, is failure. */
static double factor(idx n, idx ld, double *a) {
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

/* b = U^{-H} b, with U from factor(). */
static void solve_lower(idx n, const double *restrict u, idx ld_u, idx ld, double *restrict b) {
    for (idx j = 0; j < n; j++) {
        double *re = RE(b, j, ld), *im = IM(b, j, ld);
        for (idx i = j + 1; i < n; i++)
            subtract_row(RE(u, j, ld_u)[i], -IM(u, j, ld_u)[i], re, im, RE(b, i, ld),
                         IM(b, i, ld), 0, ld);
        scale_row(RE(u, j, ld_u)[j], re, im, 0, ld);
    }
}

/* b = U^{-1} b. */
static void solve_upper(idx n, const double *restrict u, idx ld_u, idx ld, double *restrict b) {
    for (idx j = 0; j < n; j++)
        scale_row(RE(u, j, ld_u)[j], RE(b, j, ld), IM(b, j, ld), 0, ld);
    for (idx j = n; j-- > 0;)
        for (idx i = 0; i < j; i++)
            subtract_row(RE(u, i, ld_u)[j], IM(u, i, ld_u)[j], RE(b, j, ld), IM(b, j, ld),
                         RE(b, i, ld), IM(b, i, ld), 0, ld);
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
