/* The two passes over the N elements, and the products of the feeds.
 *
 * Included for each way in which a problem holds its phase: CWAVE is the complex number of one
 * element and feed, WAVE a real one, and PASS(name) the name of that version.  A pack whose
 * problems share the phase has plain numbers there (rparts, real); a lone problem, and a pack in
 * which every problem has a phase of its own, vectors (cparts, vec).
 */

/* Blocks of sums that stay in registers with what they are made of; PARTS of the three parts of complex
 * numbers at a time. */
#if REGISTERS == 32 && defined(SHARED)
#define FORWARD_USERS 1
#define FORWARD_FEEDS 6
#define BACKWARD_ELEMENTS 8
#define BACKWARD_USERS 1
#define PARTS 3
#define PAIR_BLOCK 12
#elif REGISTERS == 32
#define FORWARD_USERS 2
#define FORWARD_FEEDS 4
#define BACKWARD_ELEMENTS 1
#define BACKWARD_USERS 6
#define PARTS 3
#define PAIR_BLOCK 12
#elif defined(SHARED)
#define FORWARD_USERS 2
#define FORWARD_FEEDS 6
#define BACKWARD_ELEMENTS 4
#define BACKWARD_USERS 2
#define PARTS 1
#define PAIR_BLOCK 6
#else
#define FORWARD_USERS 1
#define FORWARD_FEEDS 4
#define BACKWARD_ELEMENTS 1
#define BACKWARD_USERS 4
#define PARTS 3
#define PAIR_BLOCK 6
#endif
#define NEAR (24 << 10) /* bytes of a phase that stay in the nearest cache */
/* One number of a phase in every lane. */
#define WAVE_VEC(x) ((x) - (vec){0})

INLINE void PASS(forward_block)(const int users, const int feeds, idx n, const cvec *restrict h,
                                idx K, const CWAVE *restrict phi, idx L, const vec *restrict m,
                                int first, int last, cparts *restrict sums, cpx *restrict out) {
    cparts sum[FORWARD_USERS][FORWARD_FEEDS];
    UNROLLED
    for (int u = 0; u < users; u++)
        UNROLLED
        for (int l = 0; l < feeds; l++)
            sum[u][l] = first ? (cparts){{{0}, {0}, {0}}} : sums[u * L + l];
    UNROLLED
    for (int at = 0; at < 3; at += PARTS)
        for (idx i = 0; i < n; i++) {
            cparts x[FORWARD_USERS];
            UNROLLED
            for (int u = 0; u < users; u++)
                x[u] = parts_of(h[i * K + u].re * m[i], h[i * K + u].im * m[i]);
            UNROLLED
            for (int c = at; c < at + PARTS; c++)
                UNROLLED
                for (int l = 0; l < feeds; l++) {
                    const vec wave = WAVE_VEC(phi[i * L + l].part[c]);
                    UNROLLED
                    for (int u = 0; u < users; u++)
                        sum[u][l].part[c] += x[u].part[c] * wave;
                }
        }
    cvec whole[FORWARD_USERS * FORWARD_FEEDS];
    cpx done[FORWARD_USERS * FORWARD_FEEDS];
    UNROLLED
    for (int u = 0; u < users; u++)
        UNROLLED
        for (int l = 0; l < feeds; l++)
            if (last)
                whole[u * feeds + l] = whole_of(sum[u][l]);
            else
                sums[u * L + l] = sum[u][l];
    if (!last)
        return;
    totals(2 * users * feeds, (const vec *)whole, (num *)done);
    for (int u = 0; u < users; u++)
        for (int l = 0; l < feeds; l++)
            out[u * L + l] = done[u * feeds + l];
}

/* G_kl = sum_n H_kn m_n Phi_nl, by strips; sums: workspace (K x L). */
static void PASS(forward)(idx K, idx L, idx n, const cvec *h, const CWAVE *phi, const vec *m,
                          cparts *sums, cpx *effective) {
    const idx step = even_step(L, FORWARD_FEEDS), strip = NEAR / (L * (idx)sizeof *phi) + 1;
    for (idx at = 0; at < n; at += strip)
        for (idx k = 0; k < K; k += FORWARD_USERS)
            for (idx l = 0; l < L; l += step) {
#define BLOCK(users, feeds)                                                                     \
    PASS(forward_block)(users, least(feeds, FORWARD_FEEDS), least(strip, n - at), h + at * K + k, K, \
                        phi + at * L + l, L, m + at, at == 0, at + strip >= n, sums + k * L + l,  \
                        effective + k * L + l)
#define WHOLE(feeds) BLOCK(FORWARD_USERS, feeds)
#define SINGLE(feeds) BLOCK(1, feeds)
                if (k + FORWARD_USERS <= K)
                    CONSTANT(least(step, L - l), WHOLE)
                else
                    CONSTANT(least(step, L - l), SINGLE)
#undef BLOCK
#undef WHOLE
#undef SINGLE
            }
}

/* Z_nk = sum_l Phi_nl Y_lk of some elements and users or, where h is not NULL, what they (first: alone)
 * give to Re sum_k H_kn Z_nk. */
INLINE void PASS(backward_block)(const int elements, const int users, const cvec *restrict h, idx K,
                                 const CWAVE *restrict phi, idx L, const nparts *restrict y,
                                 cvec *restrict fields, vec *restrict slope, int first) {
    cparts sum[BACKWARD_ELEMENTS][BACKWARD_USERS];
    UNROLLED
    for (int e = 0; e < elements; e++)
        UNROLLED
        for (int u = 0; u < users; u++)
            sum[e][u] = (cparts){{{0}, {0}, {0}}};
    UNROLLED
    for (int at = 0; at < 3; at += PARTS)
        for (idx l = 0; l < L; l++)
            UNROLLED
            for (int c = at; c < at + PARTS; c++) {
                vec wave[BACKWARD_ELEMENTS];
                for (int e = 0; e < elements; e++)
                    wave[e] = WAVE_VEC(phi[e * L + l].part[c]);
                UNROLLED
                for (int u = 0; u < users; u++) {
                    vec by = spread(y[l * K + u].part[c]);
                    for (int e = 0; e < elements; e++)
                        sum[e][u].part[c] += wave[e] * by;
                }
            }
    UNROLLED
    for (int e = 0; e < elements; e++) {
        vec pulled = h && !first ? slope[e] : (vec){0};
        UNROLLED
        for (int u = 0; u < users; u++) {
            const cvec z = whole_of(sum[e][u]);
            if (h)
                pulled += h[e * K + u].re * z.re - h[e * K + u].im * z.im;
            else
                fields[e * K + u] = z;
        }
        if (h)
            slope[e] = pulled;
    }
}

/* The same of n elements. */
INLINE void PASS(backward_users)(const int users, idx n, const cvec *h, idx K, const CWAVE *phi,
                                 idx L, const nparts *y, cvec *fields, vec *slope, int first) {
    idx i = 0;
    for (; i + BACKWARD_ELEMENTS <= n; i += BACKWARD_ELEMENTS)
        PASS(backward_block)(BACKWARD_ELEMENTS, users, h ? h + i * K : h, K, phi + i * L, L, y,
                             fields + i * K, slope + i, first);
    for (; i < n; i++)
        PASS(backward_block)(1, users, h ? h + i * K : h, K, phi + i * L, L, y, fields + i * K,
                             slope + i, first);
}

/* Fields or slopes of all users. */
INLINE void PASS(backward_blocks)(idx K, idx L, idx n, const CWAVE *phi, const nparts *y,
                                  const cvec *h, cvec *fields, vec *slope) {
    const idx step = even_step(K, BACKWARD_USERS);
    for (idx k = 0; k < K; k += step) {
#define CALL(users)                                                                              \
    PASS(backward_users)(least(users, BACKWARD_USERS), n, h ? h + k : h, K, phi, L, y + k, fields + k, \
                         slope, k == 0)
        CONSTANT(least(step, K - k), CALL)
#undef CALL
    }
}

/* Z_nk = sum_l Phi_nl Y_lk. */
static void PASS(fields)(idx K, idx L, idx n, const CWAVE *phi, const nparts *y, cvec *fields) {
    PASS(backward_blocks)(K, L, n, phi, y, NULL, fields, NULL);
}

/* slope_n = Re sum_k H_kn sum_l Phi_nl Y_lk. */
static void PASS(backward)(idx K, idx L, idx n, const cvec *h, const CWAVE *phi, const nparts *y,
                           vec *slope) {
    PASS(backward_blocks)(K, L, n, phi, y, h, NULL, slope);
}

/* Of `count` elements, conj(Phi_nl) Phi_nr: the real parts for l <= r, then the imaginary parts
 * for l < r.  S is their sum with |q_n|^2, a quarter of the work of a pass. */
static void PASS(make_pairs)(idx L, idx count, const CWAVE *restrict phi, WAVE *restrict pairs) {
    for (idx i = 0; i < count; i++, phi += L) {
        for (idx l = 0; l < L; l++)
            for (idx r = l; r < L; r++)
                *pairs++ = phi[l].part[0] * phi[r].part[0] + phi[l].part[1] * phi[r].part[1];
        for (idx l = 0; l < L; l++)
            for (idx r = l + 1; r < L; r++)
                *pairs++ = phi[l].part[0] * phi[r].part[1] - phi[l].part[1] * phi[r].part[0];
    }
}

/* The pairs of the elements from `at` on: of the whole surface, or computed again strip by strip where
 * they would not stay in the cache. */
INLINE const WAVE *PASS(pairs_from)(idx L, idx at, idx count, const CWAVE *phi, WAVE *pairs,
                                    int kept) {
    if (kept)
        return pairs + at * L * L;
    PASS(make_pairs)(L, count, phi + at * L, pairs);
    return pairs;
}

INLINE void PASS(pair_sums)(const int block, idx L, idx count, const WAVE *restrict pairs,
                            const vec *restrict squares, vec *restrict sums) {
    vec sum[PAIR_BLOCK];
    for (int e = 0; e < block; e++)
        sum[e] = sums[e];
    for (idx i = 0; i < count; i++) {
        for (int e = 0; e < block; e++)
            sum[e] += squares[i] * pairs[i * L * L + e];
    }
    for (int e = 0; e < block; e++)
        sums[e] = sum[e];
}

/* S = Phi^H diag|q|^2 Phi. */
static void PASS(feed_gram)(idx L, idx n, const CWAVE *phi, WAVE *pairs, int kept,
                            const vec *squares, vec *sums, cpx *gram) {
    memset(sums, 0, (size_t)(L * L) * sizeof(vec));
    for (idx at = 0; at < n; at += STRIP) {
        const idx count = least(STRIP, n - at);
        const WAVE *strip = PASS(pairs_from)(L, at, count, phi, pairs, kept);
        idx e = 0;
        for (; e + PAIR_BLOCK <= L * L; e += PAIR_BLOCK)
            PASS(pair_sums)(PAIR_BLOCK, L, count, strip + e, squares + at, sums + e);
        for (; e < L * L; e++)
            PASS(pair_sums)(1, L, count, strip + e, squares + at, sums + e);
    }
    const vec *from = sums;
    for (idx l = 0; l < L; l++)
        for (idx r = l; r < L; r++) {
            gram[l * L + r] = (cpx){total(*from++), NUM(0)};
            gram[r * L + l] = gram[l * L + r];
        }
    for (idx l = 0; l < L; l++)
        for (idx r = l + 1; r < L; r++) {
            gram[l * L + r].im = total(*from++);
            gram[r * L + l].im = -gram[l * L + r].im;
        }
}

/* slope_n = Phi_n Q Phi_n^H of a Hermitian Q (L x L). */
static void PASS(feed_slope)(idx L, idx n, const CWAVE *phi, WAVE *pairs, int kept, const cpx *q,
                             vec *coefficients, vec *restrict slope) {
    vec *to = coefficients;
    for (idx l = 0; l < L; l++)
        for (idx r = l; r < L; r++)
            *to++ = spread((real)(r > l ? 2 : 1) * q[l * L + r].re);
    for (idx l = 0; l < L; l++)
        for (idx r = l + 1; r < L; r++)
            *to++ = spread(2 * q[l * L + r].im);
    for (idx at = 0; at < n; at += STRIP) {
        const idx count = least(STRIP, n - at);
        const WAVE *strip = PASS(pairs_from)(L, at, count, phi, pairs, kept);
        idx i = 0;
        for (; i + 4 <= count; i += 4) {
            vec sum[4] = {{0}};
            for (idx e = 0; e < L * L; e++)
                for (int j = 0; j < 4; j++)
                    sum[j] += coefficients[e] * strip[(i + j) * L * L + e];
            for (int j = 0; j < 4; j++)
                slope[at + i + j] = sum[j];
        }
        for (; i < count; i++) {
            vec sum = {0};
            for (idx e = 0; e < L * L; e++)
                sum += coefficients[e] * strip[i * L * L + e];
            slope[at + i] = sum;
        }
    }
}

#undef WAVE_VEC
#undef NEAR
#undef FORWARD_USERS
#undef FORWARD_FEEDS
#undef BACKWARD_ELEMENTS
#undef BACKWARD_USERS
#undef PARTS
#undef PAIR_BLOCK
