/* K x K and K x L algebra: plain loops over plain numbers.
 *
 * A matrix is row-major, `ld` apart.  Products keep a block of sums in registers, so the sizes of
 * a block are constants.
 */

#if REGISTERS == 32
#define BLOCK_ROWS 2
#define BLOCK_COLUMNS 6
#else
#define BLOCK_ROWS 1
#define BLOCK_COLUMNS 4
#endif

/* CALL(n) with n as a constant where it is at most 6. */
#define CONSTANT(n, CALL)   \
    switch (n) {            \
    case 1: CALL(1); break; \
    case 2: CALL(2); break; \
    case 3: CALL(3); break; \
    case 4: CALL(4); break; \
    case 5: CALL(5); break; \
    default: CALL(6); break; \
    }

/* The largest step of at most `block` that divides n about evenly. */
INLINE idx even_step(idx n, idx block) {
    const idx blocks = (n + block - 1) / block;
    return (n + blocks - 1) / blocks;
}

INLINE cpx conjugate(cpx a) { return (cpx){a.re, -a.im}; }
INLINE cpx scaled(num s, cpx a) { return (cpx){s * a.re, s * a.im}; }
INLINE cpx times(cpx a, cpx b) {
    return (cpx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
INLINE num norm2(cpx a) { return a.re * a.re + a.im * a.im; }
INLINE cpx minus(cpx a, cpx b) { return (cpx){a.re - b.re, a.im - b.im}; }
INLINE void add(cpx *to, cpx a) {
    to->re += a.re;
    to->im += a.im;
}

/* ---- what holds lane by lane */

INLINE cpx pick_cpx(mask which, cpx yes, cpx no) {
    return (cpx){pick(which, yes.re, no.re), pick(which, yes.im, no.im)};
}
INLINE cvec choose_cvec(lanes which, cvec yes, cvec no) {
    return (cvec){choose(which, yes.re, no.re), choose(which, yes.im, no.im)};
}

static void pick_elements(idx n, mask which, const vec *from, vec *to) {
    const lanes here = spread_mask(which);
    for (idx i = 0; i < n; i++)
        to[i] = choose(here, from[i], to[i]);
}

static void pick_nums(idx count, mask which, const num *from, num *to) {
    for (idx i = 0; i < count; i++)
        to[i] = pick(which, from[i], to[i]);
}

static void clear_where(mask which, idx count, cpx *a) {
    for (idx i = 0; any(which) && i < count; i++)
        a[i] = pick_cpx(which, (cpx){NUM(0), NUM(0)}, a[i]);
}

/* ---- matrices */

/* A matrix, or its conjugate transpose, as a factor of a product. */
typedef struct {
    const cpx *at;
    idx row, column;
    int conjugated;
} factor;

INLINE factor plain(const cpx *a, idx ld) { return (factor){a, ld, 1, 0}; }
INLINE factor dagger(const cpx *a, idx ld) { return (factor){a, 1, ld, 1}; }
INLINE cpx entry(factor f, idx r, idx c) {
    const cpx a = f.at[r * f.row + c * f.column];
    return f.conjugated ? conjugate(a) : a;
}

/* The entries of a factor (rows x columns) in parts. */
static void part_factor(idx rows, idx columns, factor f, nparts *to) {
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < columns; c++) {
            const cpx x = entry(f, r, c);
            *to++ = (nparts){{x.re, x.im, x.re + x.im}};
        }
}

INLINE void multiply_block(const int rows, const int columns, idx inner, factor a, factor b,
                           cpx *restrict out, idx ld) {
    cpx sum[BLOCK_ROWS][BLOCK_COLUMNS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            sum[r][c] = (cpx){NUM(0), NUM(0)};
    for (idx i = 0; i < inner; i++)
        for (int r = 0; r < rows; r++) {
            const cpx x = entry(a, r, i);
            for (int c = 0; c < columns; c++) {
                const cpx y = entry(b, i, c);
                sum[r][c].re += x.re * y.re;
                sum[r][c].im += x.re * y.im;
                sum[r][c].re -= x.im * y.im;
                sum[r][c].im += x.im * y.re;
            }
        }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            out[r * ld + c] = sum[r][c];
}

INLINE void multiply_any(idx rows, idx inner, idx columns, factor a, factor b, cpx *restrict out,
                         idx ld) {
    const idx step = even_step(columns, BLOCK_COLUMNS);
    for (idx r = 0; r < rows; r += BLOCK_ROWS)
        for (idx c = 0; c < columns; c += step) {
            const idx these = least(step, columns - c);
            const factor left = {a.at + r * a.row, a.row, a.column, a.conjugated};
            const factor right = {b.at + c * b.column, b.row, b.column, b.conjugated};
            cpx *to = out + r * ld + c;
#define WHOLE(n) multiply_block(BLOCK_ROWS, least(n, BLOCK_COLUMNS), inner, left, right, to, ld)
#define SINGLE(n) multiply_block(1, least(n, BLOCK_COLUMNS), inner, left, right, to, ld)
            if (r + BLOCK_ROWS <= rows)
                CONSTANT(these, WHOLE)
            else
                CONSTANT(these, SINGLE)
#undef WHOLE
#undef SINGLE
        }
}

/* out = a b, (rows x columns). */
static void multiply(idx rows, idx inner, idx columns, const cpx *a, const cpx *b, cpx *out) {
    multiply_any(rows, inner, columns, plain(a, inner), plain(b, columns), out, columns);
}

/* out = a^H b with a (inner x rows). */
static void multiply_left_dagger(idx rows, idx inner, idx columns, const cpx *a, const cpx *b,
                                 cpx *out) {
    multiply_any(rows, inner, columns, dagger(a, rows), plain(b, columns), out, columns);
}

/* out = a b^H with b (columns x inner). */
static void multiply_right_dagger(idx rows, idx inner, idx columns, const cpx *a, const cpx *b,
                                  cpx *out) {
    multiply_any(rows, inner, columns, plain(a, inner), dagger(b, inner), out, columns);
}

/* out = a a^H (rows x rows). */
INLINE void gram_of(idx rows, idx inner, factor a, cpx *restrict out) {
    for (idx r = 0; r < rows; r++)
        for (idx c = r; c < rows; c++) {
            cpx sum = {NUM(0), NUM(0)};
            for (idx i = 0; i < inner; i++) {
                const cpx x = entry(a, r, i), y = entry(a, c, i);
                sum.re += x.re * y.re;
                sum.im += x.im * y.re;
                sum.re += x.im * y.im;
                sum.im -= x.re * y.im;
            }
            out[r * rows + c] = sum;
            out[c * rows + r] = conjugate(sum);
        }
}

static void gram_of_rows(idx rows, idx inner, const cpx *a, cpx *out) {
    gram_of(rows, inner, plain(a, inner), out);
}

/* out = a^H a (columns x columns). */
static void gram_of_columns(idx inner, idx columns, const cpx *a, cpx *out) {
    gram_of(columns, inner, dagger(a, columns), out);
}

/* Re tr(a^H b). */
static num inner_product(idx count, const cpx *a, const cpx *b) {
    cpx sum = {NUM(0), NUM(0)};
    for (idx i = 0; i < count; i++) {
        sum.re += a[i].re * b[i].re;
        sum.im += a[i].im * b[i].im;
    }
    return sum.re + sum.im;
}

/* out = a^H with a (rows x columns). */
static void adjoint_of(idx rows, idx columns, const cpx *restrict a, cpx *restrict out) {
    for (idx c = 0; c < columns; c++)
        for (idx r = 0; r < rows; r++)
            out[c * rows + r] = conjugate(a[r * columns + c]);
}

static num total_of(idx count, const num *a) {
    num sum = NUM(0);
    for (idx i = 0; i < count; i++)
        sum += a[i];
    return sum;
}

static void scale(idx count, num by, cpx *a) {
    for (idx i = 0; i < count; i++)
        a[i] = scaled(by, a[i]);
}

/* Columns times factors: to = from diag(by). */
static void scale_columns(idx rows, idx columns, const num *by, const cpx *from, cpx *to) {
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < columns; c++)
            to[r * columns + c] = scaled(by[c], from[r * columns + c]);
}

static void clear(idx count, cpx *a) {
    for (idx i = 0; i < count; i++)
        a[i] = (cpx){NUM(0), NUM(0)};
}

INLINE num highest_entry(idx n, const cpx *a) {
    num high = a[0].re;
    for (idx j = 1; j < n; j++)
        high = larger(a[j * n + j].re, high);
    return high;
}

/* Inverts a Hermitian positive matrix in place by n symmetric sweeps, each of which exchanges one
 * variable with its right-hand side: no square roots, no triangular solves, half the work of
 * Gauss-Jordan.  Only the upper triangle is read.  Returns the smallest pivot over the largest
 * diagonal entry, whose rounding error a pivot may be: at most 0 or NaN where the matrix is not
 * positive. */
INLINE num invert_any(const idx n, cpx *a) {
    const num high = highest_entry(n, a);
    num low = high;
    FEW
    for (idx j = 0; j < n; j++) {
        const num pivot = a[j * n + j].re, inverse = 1 / pivot;
        low = smaller(pivot, low);
        FEW
        for (idx r = 0; r < n; r++) {
            if (r == j)
                continue;
            /* A_rj, of what stands above the diagonal, and over the pivot */
            cpx *at = r < j ? a + r * n + j : a + j * n + r;
            const cpx here = r < j ? *at : conjugate(*at), part = scaled(inverse, here);
            a[r * n + r].re -= part.re * here.re + part.im * here.im;
            FEW
            for (idx c = r + 1; c < n; c++) {
                if (c == j)
                    continue;
                const cpx there = c > j ? a[j * n + c] : conjugate(a[c * n + j]);
                a[r * n + c].re -= part.re * there.re;
                a[r * n + c].im -= part.re * there.im;
                a[r * n + c].re += part.im * there.im;
                a[r * n + c].im -= part.im * there.re;
            }
            *at = r < j ? part : conjugate(part);
        }
        a[j * n + j].re = -inverse;
    }
    FEW
    for (idx r = 0; r < n; r++) {
        a[r * n + r] = (cpx){-a[r * n + r].re, NUM(0)};
        FEW
        for (idx c = r + 1; c < n; c++) {
            a[r * n + c] = scaled(NUM(-1), a[r * n + c]);
            a[c * n + r] = conjugate(a[r * n + c]);
        }
    }
    return low / high;
}

static num invert(idx n, cpx *a) {
    switch (n) {
    case 1: return invert_any(1, a);
    case 2: return invert_any(2, a);
    case 3: return invert_any(3, a);
    case 4: return invert_any(4, a);
    case 5: return invert_any(5, a);
    case 6: return invert_any(6, a);
    case 7: return invert_any(7, a);
    case 8: return invert_any(8, a);
    default: return invert_any(n, a);
    }
}

/* S = U^H U of a Hermitian positive matrix, U in its upper triangle with the *inverse* of its
 * diagonal; what `invert` returns. */
static num cholesky(idx n, cpx *a) {
    const num high = highest_entry(n, a);
    num low = high;
    for (idx j = 0; j < n; j++) {
        const num pivot = a[j * n + j].re;
        low = smaller(pivot, low);
        const num inverse = 1 / root(pivot);
        a[j * n + j] = (cpx){inverse, NUM(0)};
        for (idx c = j + 1; c < n; c++)
            a[j * n + c] = scaled(inverse, a[j * n + c]);
        for (idx r = j + 1; r < n; r++)
            for (idx c = r; c < n; c++) {
                const cpx x = a[j * n + r], y = a[j * n + c];
                a[r * n + c].re -= x.re * y.re + x.im * y.im;
                a[r * n + c].im -= x.re * y.im - x.im * y.re;
            }
    }
    return low / high;
}

/* b = U^-H b (n x columns). */
static void solve_lower(idx n, idx columns, const cpx *restrict u, cpx *restrict b) {
    for (idx r = 0; r < n; r++) {
        for (idx i = 0; i < r; i++) {
            const cpx f = u[i * n + r];
            for (idx c = 0; c < columns; c++) {
                const cpx x = b[i * columns + c];
                b[r * columns + c].re -= f.re * x.re + f.im * x.im;
                b[r * columns + c].im -= f.re * x.im - f.im * x.re;
            }
        }
        for (idx c = 0; c < columns; c++)
            b[r * columns + c] = scaled(u[r * n + r].re, b[r * columns + c]);
    }
}

/* b = U^-1 b (n x columns). */
static void solve_upper(idx n, idx columns, const cpx *restrict u, cpx *restrict b) {
    for (idx r = n; r-- > 0;) {
        for (idx i = r + 1; i < n; i++) {
            const cpx f = u[r * n + i];
            for (idx c = 0; c < columns; c++) {
                const cpx x = b[i * columns + c];
                b[r * columns + c].re -= f.re * x.re - f.im * x.im;
                b[r * columns + c].im -= f.re * x.im + f.im * x.re;
            }
        }
        for (idx c = 0; c < columns; c++)
            b[r * columns + c] = scaled(u[r * n + r].re, b[r * columns + c]);
    }
}

/* b = a^-1 b for a real n x n matrix, spoiled, that needs no pivots: an M-matrix here. */
static void eliminate(idx n, num *a, num *b) {
    for (idx i = 0; i < n; i++)
        for (idx r = i + 1; r < n; r++) {
            const num by = a[r * n + i] / a[i * n + i];
            for (idx c = i + 1; c < n; c++)
                a[r * n + c] -= by * a[i * n + c];
            b[r] -= by * b[i];
        }
    for (idx i = n; i-- > 0;) {
        for (idx c = i + 1; c < n; c++)
            b[i] -= a[i * n + c] * b[c];
        b[i] = b[i] / a[i * n + i];
    }
}
