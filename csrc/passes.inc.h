/* The two passes over the N elements, and the products of the feeds.
 *
 * Included for each way in which a problem holds its phase: CWAVE is the complex number of one
 * element and feed, WAVE a real one, and PASS(name) the name of that version.  A pack whose
 * problems share the phase has plain numbers there (creal, real); a lone problem, and a pack in
 * which every problem has a phase of its own, vectors (cvec, vec).
 */

#if REGISTERS == 32
#define FORWARD_USERS 2
#define BACKWARD_ELEMENTS 2
#define BACKWARD_USERS 3
#define PAIR_BLOCK 12
#else
#define FORWARD_USERS 1
#define BACKWARD_ELEMENTS 2
#define BACKWARD_USERS 2
#define PAIR_BLOCK 6
#endif
#define FORWARD_FEEDS 6
/* One number of a phase in every lane. */
#define WAVE_VEC(x) ((x) - (vec){0})

INLINE void PASS(forward_block)(const int users, const int feeds, idx n, const cvec *restrict h,
                                idx K, const CWAVE *restrict phi, idx L, const vec *restrict m,
                                cpx *restrict out) {
    vec sum[2 * FORWARD_USERS * FORWARD_FEEDS];
    UNROLLED
    for (int i = 0; i < 2 * users * feeds; i++)
        sum[i] = (vec){0};
    for (idx i = 0; i < n; i++) {
        const vec scale = m[i];
        vec re[FORWARD_USERS], im[FORWARD_USERS];
        for (int u = 0; u < users; u++) {
            re[u] = h[i * K + u].re * scale;
            im[u] = h[i * K + u].im * scale;
        }
        for (int l = 0; l < feeds; l++) {
            const vec p = WAVE_VEC(phi[i * L + l].re);
            for (int u = 0; u < users; u++) {
                sum[2 * (u * feeds + l)] += re[u] * p;
                sum[2 * (u * feeds + l) + 1] += im[u] * p;
            }
        }
        for (int l = 0; l < feeds; l++) {
            const vec q = WAVE_VEC(phi[i * L + l].im);
            for (int u = 0; u < users; u++) {
                sum[2 * (u * feeds + l)] -= im[u] * q;
                sum[2 * (u * feeds + l) + 1] += re[u] * q;
            }
        }
    }
    num sums[2 * FORWARD_USERS * FORWARD_FEEDS];
    totals(2 * users * feeds, sum, sums);
    for (int u = 0; u < users; u++)
        for (int l = 0; l < feeds; l++)
            out[u * L + l] = (cpx){sums[2 * (u * feeds + l)], sums[2 * (u * feeds + l) + 1]};
}

/* G_kl = sum_n H_kn m_n Phi_nl. */
static void PASS(forward)(idx K, idx L, idx n, const cvec *h, const CWAVE *phi, const vec *m,
                          cpx *effective) {
    const idx step = even_step(L, FORWARD_FEEDS);
    for (idx k = 0; k < K; k += FORWARD_USERS)
        for (idx l = 0; l < L; l += step) {
            const idx feeds = least(step, L - l);
            cpx *to = effective + k * L + l;
#define WHOLE(c) PASS(forward_block)(FORWARD_USERS, c, n, h + k, K, phi + l, L, m, to)
#define SINGLE(c) PASS(forward_block)(1, c, n, h + k, K, phi + l, L, m, to)
            if (k + FORWARD_USERS <= K)
                CONSTANT(feeds, WHOLE)
            else
                CONSTANT(feeds, SINGLE)
#undef WHOLE
#undef SINGLE
        }
}

INLINE void PASS(backward_block)(const int elements, const int users, const cvec *restrict h, idx K,
                                 const CWAVE *restrict phi, idx L, const cpx *restrict omega,
                                 vec *restrict sum) {
    vec re[BACKWARD_ELEMENTS][BACKWARD_USERS], im[BACKWARD_ELEMENTS][BACKWARD_USERS];
    for (int e = 0; e < elements; e++)
        for (int u = 0; u < users; u++)
            re[e][u] = im[e][u] = (vec){0};
    for (idx l = 0; l < L; l++) {
        vec p[BACKWARD_ELEMENTS], q[BACKWARD_ELEMENTS];
        for (int e = 0; e < elements; e++) {
            p[e] = WAVE_VEC(phi[e * L + l].re);
            q[e] = WAVE_VEC(phi[e * L + l].im);
        }
        for (int u = 0; u < users; u++) {
            const vec x = spread(omega[u * L + l].re), y = spread(omega[u * L + l].im);
            for (int e = 0; e < elements; e++) {
                re[e][u] += x * p[e];
                im[e][u] -= x * q[e];
                re[e][u] += y * q[e];
                im[e][u] += y * p[e];
            }
        }
    }
    for (int e = 0; e < elements; e++)
        for (int u = 0; u < users; u++)
            sum[e] += h[e * K + u].re * re[e][u] + h[e * K + u].im * im[e][u];
}

/* slope_n = Re sum_k conj(H_kn) sum_l Omega_kl conj(Phi_nl). */
static void PASS(backward)(idx K, idx L, idx n, const cvec *h, const CWAVE *phi, const cpx *omega,
                           vec *restrict slope) {
    for (idx i = 0; i < n; i += BACKWARD_ELEMENTS) {
        const int pair = i + BACKWARD_ELEMENTS <= n;
        vec sum[BACKWARD_ELEMENTS] = {{0}};
        idx k = 0;
#define BLOCK(e, u) \
    PASS(backward_block)(e, u, h + i * K + k, K, phi + i * L, L, omega + k * L, sum)
        for (; k + BACKWARD_USERS <= K; k += BACKWARD_USERS)
            if (pair)
                BLOCK(BACKWARD_ELEMENTS, BACKWARD_USERS);
            else
                BLOCK(1, BACKWARD_USERS);
        for (; k < K; k++)
            if (pair)
                BLOCK(BACKWARD_ELEMENTS, 1);
            else
                BLOCK(1, 1);
#undef BLOCK
        for (int e = 0; e < (pair ? BACKWARD_ELEMENTS : 1); e++)
            slope[i + e] = sum[e];
    }
}

/* Of `count` elements, conj(Phi_nl) Phi_nr: the real parts for l <= r, then the imaginary parts
 * for l < r.  S is their sum with |q_n|^2, a quarter of the work of a pass. */
static void PASS(make_pairs)(idx L, idx count, const CWAVE *restrict phi, WAVE *restrict pairs) {
    for (idx i = 0; i < count; i++, phi += L) {
        for (idx l = 0; l < L; l++)
            for (idx r = l; r < L; r++)
                *pairs++ = phi[l].re * phi[r].re + phi[l].im * phi[r].im;
        for (idx l = 0; l < L; l++)
            for (idx r = l + 1; r < L; r++)
                *pairs++ = phi[l].re * phi[r].im - phi[l].im * phi[r].re;
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

/* Z_nj = sum_l Phi_nl V_lj of one element, in row[j]. */
static void PASS(field_row)(idx K, idx L, const CWAVE *restrict phi, const cpx *restrict beams,
                            cvec *restrict row) {
    for (idx j = 0; j < K; j++) {
        cvec z = {{0}, {0}};
        for (idx l = 0; l < L; l++) {
            const vec x = spread(beams[l * K + j].re), y = spread(beams[l * K + j].im);
            z.re += x * phi[l].re - y * phi[l].im;
            z.im += x * phi[l].im + y * phi[l].re;
        }
        row[j] = z;
    }
}

#undef WAVE_VEC
#undef FORWARD_USERS
#undef FORWARD_FEEDS
#undef BACKWARD_ELEMENTS
#undef BACKWARD_USERS
#undef PAIR_BLOCK
