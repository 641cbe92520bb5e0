/* The passes over the N elements, once for each precision.
 *
 * Included with REAL, V, V_any, W, EVEN, ODD and T(name) defined.  Complex products over the
 * elements are real ones here.  A channel row stays interleaved as it comes,
 * E = (re_0, im_0, re_1, ...), and each column f of the phase becomes two *waves*
 *
 *     F_0 = (re f_0, -im f_0, re f_1, ...)      F_1 = (im f_0, re f_0, im f_1, ...)
 *
 * so that sum_n e_n f_n = E . F_0 + j E . F_1, and Re sum_n conj(e_n) o conj(f_n) is the sum
 * of E * (re o F_0 + im o F_1).  Nothing is split or transposed for a channel, and both passes
 * are matrix products of full vectors.  Rows have ld = 2 N reals padded with zeros to 2 W.
 */

/* Distance of waves whose rows have ld reals: an odd number of cache lines, so that the waves of
 * one element do not compete for one set of the cache where N is a power of two. */
INLINE ptrdiff_t T(stride)(ptrdiff_t ld) { return ld + W; }

/* rows x 2 n reals, padded to ld. */
static void T(copy_rows)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const REAL *restrict from,
                         REAL *restrict to) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        memcpy(to + r * ld, from + r * 2 * n, (size_t)(2 * n) * sizeof(REAL));
        memset(to + r * ld + 2 * n, 0, (size_t)(ld - 2 * n) * sizeof(REAL));
    }
}

/* Waves, two rows for each of the columns of an n x columns interleaved matrix. */
static void T(make_waves)(ptrdiff_t n, ptrdiff_t columns, ptrdiff_t ld,
                          const REAL *restrict from, REAL *restrict to) {
    const ptrdiff_t step = T(stride)(ld);
    for (ptrdiff_t c = 0; c < columns; c++, to += 2 * step) {
        for (ptrdiff_t i = 0; i < n; i++) {
            const REAL re = from[2 * (i * columns + c)], im = from[2 * (i * columns + c) + 1];
            to[2 * i] = to[step + 2 * i + 1] = re;
            to[2 * i + 1] = -im;
            to[step + 2 * i] = im;
        }
        memset(to + 2 * n, 0, (size_t)(step - 2 * n) * sizeof(REAL));
        memset(to + step + 2 * n, 0, (size_t)(step - 2 * n) * sizeof(REAL));
    }
}

/* (m_0, m_0, m_1, m_1, ...), padded to ld. */
static void T(duplicate)(ptrdiff_t n, ptrdiff_t ld, const REAL *restrict m, REAL *restrict to) {
    for (ptrdiff_t i = 0; i < n; i++)
        to[2 * i] = to[2 * i + 1] = m[i];
    memset(to + 2 * n, 0, (size_t)(ld - 2 * n) * sizeof(REAL));
}

/* The sum over i of E_r[i] F_j[i] as vectors of partial sums, begun at from = 0 and gone on with
 * after; rows and waves are constants whose sums all stay in registers. */
INLINE void T(product_block)(const int rows, const int waves, ptrdiff_t from, ptrdiff_t to,
                             const REAL *restrict e, ptrdiff_t step, const REAL *restrict f,
                             ptrdiff_t ld, V *restrict sums, ptrdiff_t ld_sums) {
    V sum[MOST_ROWS][4];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < waves; j++)
            sum[r][j] = from ? sums[j * ld_sums + r] : (V){0};
    for (ptrdiff_t i = from; i < to; i += W) {
        V wave[4];
        for (int j = 0; j < waves; j++)
            wave[j] = *(const V *)(f + j * ld + i);
        for (int r = 0; r < rows; r++) {
            const V row = *(const V *)(e + r * step + i);
            for (int j = 0; j < waves; j++)
                sum[r][j] += row * wave[j];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < waves; j++)
            sums[j * ld_sums + r] = sum[r][j];
}

/* One vector with the sum over the lanes of each of W vectors. */
INLINE V T(add_lanes)(const V *sums) {
    V level[W];
    for (int i = 0; i < W; i++)
        level[i] = sums[i];
    for (int width = W / 2; width >= 1; width /= 2)
        for (int i = 0; i < width; i++)
            level[i] = EVEN(level[2 * i], level[2 * i + 1]) + ODD(level[2 * i], level[2 * i + 1]);
    return level[0];
}

/* out = (E diag(scale) F^T)^H, (columns x rows) in planar double rows of ld_out, from `rows`
 * rows `step` apart and the waves of `columns` columns; scale has ld reals, or is NULL for ones.
 * upper: only what the upper half of a Hermitian result needs.  ahead: fetched meanwhile.
 * sums: workspace of 2 columns * ld_out vectors; strip: of MOST_ROWS * STRIP reals. */
INLINE void T(product_any)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t ld,
                           const REAL *restrict scale, const REAL *restrict e, ptrdiff_t step,
                           const REAL *restrict f, const int upper, hf_ahead *ahead,
                           REAL *restrict strip, V *restrict sums, double *restrict out,
                           ptrdiff_t ld_out) {
    const ptrdiff_t blocks = (rows + MOST_ROWS - 1) / MOST_ROWS;
    const ptrdiff_t height = (rows + blocks - 1) / blocks;
    for (ptrdiff_t from = 0; from < ld; from += STRIP) {
        const ptrdiff_t to = from + STRIP < ld ? from + STRIP : ld;
        for (ptrdiff_t r = 0; r < rows; r += height) {
            const ptrdiff_t these = rows - r < height ? rows - r : height;
            const ptrdiff_t end = upper && r + these < columns ? r + these : columns;
            for (ptrdiff_t j = 0; j < these; j++)
                for (ptrdiff_t i = from; i < to; i += W) {
                    const REAL *at = e + (r + j) * step + i;
                    V row = *(const V_any *)at;
                    __builtin_prefetch(at + STRIP);
                    if (scale)
                        row *= *(const V *)(scale + i);
                    *(V *)(strip + j * STRIP + i - from) = row;
                }
            const REAL *rows_at = strip - from;
            for (ptrdiff_t c = 0; c < end; c += 2) {
                const REAL *f_c = f + 2 * c * T(stride)(ld);
                fetch(ahead, to - from, ld * blocks * ((columns + 1) / 2));
                V *part = sums + 2 * c * ld_out + r;
#define CALL(constant) \
    T(product_block)(constant, 4, from, to, rows_at, STRIP, f_c, T(stride)(ld), part, ld_out)
                if (c + 1 < columns)
                    CONSTANT_ROWS(these, CALL)
#undef CALL
#define CALL(constant) \
    T(product_block)(constant, 2, from, to, rows_at, STRIP, f_c, T(stride)(ld), part, ld_out)
                else
                    CONSTANT_ROWS(these, CALL)
#undef CALL
            }
        }
    }
    for (ptrdiff_t c = 0; c < 2 * columns; c++) /* so that no lane below asks if it is padding */
        for (ptrdiff_t r = rows; r < ld_out; r++)
            sums[c * ld_out + r] = (V){0};
    typedef double V_double __attribute__((vector_size(W * 8), may_alias));
    const ptrdiff_t at_once = W / WD; /* rows of the result that one vector of sums holds */
    for (ptrdiff_t c = 0; c < 2 * columns; c += at_once)
        for (ptrdiff_t r = 0; r < ld_out; r += WD) {
            V part[W];
            for (int i = 0; i < W; i++)
                part[i] = sums[(c + i / WD) * ld_out + r + i % WD];
            const V_double total = __builtin_convertvector(T(add_lanes)(part), V_double);
            for (int j = 0; j < at_once; j++) {
                VD row;
                memcpy(&row, (const double *)&total + j * WD, sizeof row);
                *(VD *)(out + (c + j) * ld_out + r) = (c + j) & 1 ? -row : row;
            }
        }
}

static void T(product)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t ld,
                       const REAL *restrict scale, const REAL *restrict e, ptrdiff_t step,
                       const REAL *restrict f, hf_ahead *ahead, REAL *restrict strip,
                       V *restrict sums, double *restrict out, ptrdiff_t ld_out) {
    T(product_any)(rows, columns, ld, scale, e, step, f, 0, ahead, strip, sums, out, ld_out);
}

/* gradient[n] += Re sum_r conj(e_r) sum_c Omega_rc conj(f_c) at each element n, Omega as
 * (re, im) pairs of the columns; `rows` is a constant. */
INLINE void T(pull_back_block)(const int rows, ptrdiff_t waves, ptrdiff_t from, ptrdiff_t to,
                               ptrdiff_t ld, const REAL *restrict e, ptrdiff_t step,
                               const REAL *restrict f,
                               const REAL *restrict omega, ptrdiff_t ld_omega,
                               REAL *restrict gradient) {
    for (ptrdiff_t i = from; i < to; i += 2 * W) {
        V low[MOST_ROWS], high[MOST_ROWS];
        for (int r = 0; r < rows; r++)
            low[r] = high[r] = (V){0};
        for (ptrdiff_t j = 0; j < waves; j++) {
            const V wave_low = *(const V *)(f + j * ld + i);
            const V wave_high = *(const V *)(f + j * ld + i + W);
            for (int r = 0; r < rows; r++) {
                low[r] += omega[r * ld_omega + j] * wave_low;
                high[r] += omega[r * ld_omega + j] * wave_high;
            }
        }
        V sum_low = {0}, sum_high = {0};
        for (int r = 0; r < rows; r++) {
            sum_low += *(const V_any *)(e + r * step + i) * low[r];
            sum_high += *(const V_any *)(e + r * step + i + W) * high[r];
        }
        *(V *)(gradient + i / 2) += EVEN(sum_low, sum_high) + ODD(sum_low, sum_high);
    }
}

/* The pull-back of all rows, `step` apart, into gradient (ld / 2); coupling is Omega^H
 * (columns x rows) in planar double rows of ld_coupling.  lower: Omega is zero above the
 * diagonal. */
static void T(pull_back)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t ld, const REAL *restrict e,
                         ptrdiff_t step, const REAL *restrict f, const int lower,
                         const double *restrict coupling, ptrdiff_t ld_coupling, hf_ahead *ahead,
                         REAL *restrict omega, REAL *restrict gradient) {
    for (ptrdiff_t c = 0; c < columns; c++)
        for (ptrdiff_t r = 0; r < rows; r++) {
            omega[2 * (r * columns + c)] = (REAL)coupling[2 * c * ld_coupling + r];
            omega[2 * (r * columns + c) + 1] = -(REAL)coupling[(2 * c + 1) * ld_coupling + r];
        }
    memset(gradient, 0, (size_t)(ld / 2) * sizeof(REAL));
    const ptrdiff_t blocks = (rows + MOST_ROWS - 1) / MOST_ROWS;
    const ptrdiff_t height = (rows + blocks - 1) / blocks;
    for (ptrdiff_t from = 0; from < ld; from += STRIP) {
        const ptrdiff_t to = from + STRIP < ld ? from + STRIP : ld;
        for (ptrdiff_t r = 0; r < rows; r += height) {
            fetch(ahead, to - from, ld * blocks);
            const ptrdiff_t these = rows - r < height ? rows - r : height;
            const ptrdiff_t waves = 2 * (lower ? r + these : columns);
            const REAL *e_r = e + r * step, *o_r = omega + 2 * r * columns;
#define CALL(constant)                                                                      \
    T(pull_back_block)(constant, waves, from, to, T(stride)(ld), e_r, step, f, o_r, 2 * columns, \
                       gradient)
            CONSTANT_ROWS(these, CALL)
#undef CALL
        }
    }
}
