/* The passes over the N elements, once for each precision.
 *
 * Included with REAL, V, W, EVEN, ODD, V_any and T(name) defined.  A complex matrix is
 * *planar*: each row is re[ld] then im[ld], ld padded to whole vectors with zeros.
 */

/* rows x n interleaved -> planar rows. */
static void T(split)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const REAL *restrict from,
                     REAL *restrict to) {
    for (ptrdiff_t r = 0; r < rows; r++, from += 2 * n, to += 2 * ld) {
        ptrdiff_t i = 0;
        for (; i + W <= n; i += W) {
            const V a = *(const V_any *)(from + 2 * i), b = *(const V_any *)(from + 2 * i + W);
            *(V *)(to + i) = EVEN(a, b);
            *(V *)(to + ld + i) = ODD(a, b);
        }
        for (; i < n; i++) {
            to[i] = from[2 * i];
            to[ld + i] = from[2 * i + 1];
        }
        for (; i < ld; i++)
            to[i] = to[ld + i] = 0;
    }
}

/* to = diag(scale) from on planar rows; scale is padded to ld. */
static void T(scale_rows)(ptrdiff_t rows, ptrdiff_t ld, const REAL *restrict scale,
                          const REAL *restrict from, REAL *restrict to) {
    for (ptrdiff_t r = 0; r < 2 * rows; r++)
        for (ptrdiff_t i = 0; i < ld; i += W)
            *(V *)(to + r * ld + i) = *(const V *)(scale + i) * *(const V *)(from + r * ld + i);
}

/* sums[r][c] += sum_n E_r[n] F_c[n], or conj(E_r[n]) F_c[n]: a vector of partial sums each.
 * rows and columns are compile-time constants of at most BLOCK, so all sums stay in registers. */
INLINE void T(product_block)(const int rows, const int columns, const int conjugate,
                             ptrdiff_t from, ptrdiff_t to, ptrdiff_t ld, const REAL *restrict e,
                             const REAL *restrict f, V *restrict sums, ptrdiff_t ld_sums) {
    V re[BLOCK][BLOCK], im[BLOCK][BLOCK];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            re[r][c] = sums[2 * r * ld_sums + c];
            im[r][c] = sums[(2 * r + 1) * ld_sums + c];
        }
    for (ptrdiff_t i = from; i < to; i += W) {
        V f_re[BLOCK], f_im[BLOCK];
        for (int c = 0; c < columns; c++) {
            f_re[c] = *(const V *)(f + 2 * c * ld + i);
            f_im[c] = *(const V *)(f + (2 * c + 1) * ld + i);
        }
        for (int r = 0; r < rows; r++) {
            const V e_re = *(const V *)(e + 2 * r * ld + i);
            const V e_im = *(const V *)(e + (2 * r + 1) * ld + i);
            for (int c = 0; c < columns; c++) {
                re[r][c] += e_re * f_re[c];
                im[r][c] += e_re * f_im[c];
                if (conjugate) {
                    re[r][c] += e_im * f_im[c];
                    im[r][c] -= e_im * f_re[c];
                } else {
                    re[r][c] -= e_im * f_im[c];
                    im[r][c] += e_im * f_re[c];
                }
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            sums[2 * r * ld_sums + c] = re[r][c];
            sums[(2 * r + 1) * ld_sums + c] = im[r][c];
        }
}

/* Adds up neighbouring lanes of 2^depth vectors into one. */
INLINE V T(add_lanes)(const V *sums, const int width) {
    if (width == 1)
        return sums[0];
    V half[W];
    for (int i = 0; i < width / 2; i++)
        half[i] = EVEN(sums[2 * i], sums[2 * i + 1]) + ODD(sums[2 * i], sums[2 * i + 1]);
    V quarter[W];
    for (int i = 0; i < width / 4; i++)
        quarter[i] = EVEN(half[2 * i], half[2 * i + 1]) + ODD(half[2 * i], half[2 * i + 1]);
    if (width == 2)
        return half[0];
    V eighth[W];
    for (int i = 0; i < width / 8; i++)
        eighth[i] =
            EVEN(quarter[2 * i], quarter[2 * i + 1]) + ODD(quarter[2 * i], quarter[2 * i + 1]);
    if (width == 4)
        return quarter[0];
    if (width == 8)
        return eighth[0];
    return EVEN(eighth[0], eighth[1]) + ODD(eighth[0], eighth[1]);
}

/* Calls block(rows, columns) with both as constants. */
#if BLOCK == 3
#define CONSTANT_SIZES(rows, columns, CALL)        \
    switch (rows * 4 + columns) {                  \
    case 15: CALL(3, 3); break;                    \
    case 14: CALL(3, 2); break;                    \
    case 13: CALL(3, 1); break;                    \
    case 11: CALL(2, 3); break;                    \
    case 10: CALL(2, 2); break;                    \
    case 9: CALL(2, 1); break;                     \
    case 7: CALL(1, 3); break;                     \
    case 6: CALL(1, 2); break;                     \
    default: CALL(1, 1); break;                    \
    }
#else
#define CONSTANT_SIZES(rows, columns, CALL)        \
    switch (rows * 4 + columns) {                  \
    case 10: CALL(2, 2); break;                    \
    case 9: CALL(2, 1); break;                     \
    case 6: CALL(1, 2); break;                     \
    default: CALL(1, 1); break;                    \
    }
#endif

/* Elements a strip: its rows of a few users and feeds stay in the first-level cache. */
#define STRIP (2048 / (ptrdiff_t)sizeof(REAL))

/* out = E F^T (or conj(E) F^T), planar double rows of ld_out, from planar rows of n elements.
 * lower: only what blocks on and below the diagonal need (a Hermitian result's lower half).
 * sums: workspace of 2 rows * ld_out vectors. */
static void T(product)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t ld, const REAL *restrict e,
                       const REAL *restrict f, const int conjugate, const int lower,
                       V *restrict sums, double *restrict out, ptrdiff_t ld_out) {
    memset(sums, 0, (size_t)(2 * rows * ld_out) * sizeof(V));
    for (ptrdiff_t from = 0; from < ld; from += STRIP) {
        const ptrdiff_t to = from + STRIP < ld ? from + STRIP : ld;
        for (ptrdiff_t r = 0; r < rows; r += BLOCK)
            for (ptrdiff_t c = 0; c < (lower ? r + 1 : columns); c += BLOCK) {
                const int height = rows - r < BLOCK ? (int)(rows - r) : BLOCK;
                const int width = columns - c < BLOCK ? (int)(columns - c) : BLOCK;
                V *part = sums + 2 * r * ld_out + c;
                const REAL *e_r = e + 2 * r * ld, *f_c = f + 2 * c * ld;
#define CALL(a, b) T(product_block)(a, b, conjugate, from, to, ld, e_r, f_c, part, ld_out)
                CONSTANT_SIZES(height, width, CALL)
#undef CALL
            }
    }
    for (ptrdiff_t i = 0; i < 2 * rows * ld_out; i += W) {
        typedef double V_double __attribute__((vector_size(W * 8), aligned(VBYTES)));
        *(V_double *)(out + i) = __builtin_convertvector(T(add_lanes)(sums + i, W), V_double);
    }
}

/* gradient[n] += Re sum_r conj(E_r[n]) sum_c Omega_rc conj(F_c[n]), or with E_r in place of
 * conj(E_r). */
INLINE void T(pull_back_block)(const int rows, const double sign, ptrdiff_t columns, ptrdiff_t ld,
                               const REAL *restrict e, const REAL *restrict f,
                               const REAL *restrict omega, ptrdiff_t ld_omega,
                               REAL *restrict gradient) {
    for (ptrdiff_t i = 0; i < ld; i += W) {
        V re[BLOCK], im[BLOCK];
        for (int r = 0; r < rows; r++)
            re[r] = im[r] = (V){0};
        for (ptrdiff_t c = 0; c < columns; c++) {
            const V f_re = *(const V *)(f + 2 * c * ld + i);
            const V f_im = *(const V *)(f + (2 * c + 1) * ld + i);
            for (int r = 0; r < rows; r++) {
                const REAL o_re = omega[2 * r * ld_omega + c];
                const REAL o_im = omega[(2 * r + 1) * ld_omega + c];
                re[r] += o_re * f_re;
                im[r] += o_im * f_re;
                re[r] += o_im * f_im;
                im[r] -= o_re * f_im;
            }
        }
        V sum = *(V *)(gradient + i);
        for (int r = 0; r < rows; r++) {
            sum += *(const V *)(e + 2 * r * ld + i) * re[r];
            sum += (REAL)sign * *(const V *)(e + (2 * r + 1) * ld + i) * im[r];
        }
        *(V *)(gradient + i) = sum;
    }
}

/* The pull-back of all rows; lower: Omega is zero above the diagonal, and E is taken without
 * the conjugate, which makes a Hermitian form of E = F. */
static void T(pull_back)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t ld, const REAL *restrict e,
                         const REAL *restrict f, const int lower, const double *restrict coupling,
                         ptrdiff_t ld_omega, REAL *restrict omega, REAL *restrict gradient) {
    for (ptrdiff_t i = 0; i < 2 * rows * ld_omega; i++)
        omega[i] = (REAL)coupling[i];
    memset(gradient, 0, (size_t)ld * sizeof(REAL));
    for (ptrdiff_t r = 0; r < rows; r += BLOCK) {
        const int height = rows - r < BLOCK ? (int)(rows - r) : BLOCK;
        const ptrdiff_t width = lower ? r + height : columns;
        const REAL *e_r = e + 2 * r * ld, *o_r = omega + 2 * r * ld_omega;
#define CALL(a) T(pull_back_block)(a, sign, width, ld, e_r, f, o_r, ld_omega, gradient)
        const double sign = lower ? -1 : 1;
        if (height == 1)
            CALL(1);
        else if (height == 2)
            CALL(2);
        else
            CALL(BLOCK);
#undef CALL
    }
}

#undef STRIP
