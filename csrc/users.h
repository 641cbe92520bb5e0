/* What happens between users, all in double: rates, their adjoint, WMMSE sweeps, ZF powers.
 *
 * The beams are V = Y Psi over the Gram matrix X = Y'^H Y' (K x K), see solve.inc.h.
 */
#ifndef HF_USERS_H
#define HF_USERS_H

#include "small.h"

#define INV_LN2 1.44269504088896340736
#define TINY 1e-12
#define MOST ((idx)1 << 24) /* of any size: what is past all real problems is refused */

/* Vectors over users, ld lanes each, padded with zeros (disturbance: with the noise). */
typedef struct {
    double *disturbance; /* D_k */
    double *ratio;       /* SINR_k */
    double *signal;      /* |A_kk|^2 */
    double *direct;      /* A_kk, complex: ld apart */
} hf_links;

/* SINR of A = G V at this noise.  No lane of a row is patched in memory: a vector read back after
 * that would wait for it. */
INLINE void find_links_any(const idx users, const idx ld, const double *restrict received,
                           double noise, hf_links at) {
    const VD zero = {0};
    for (idx k = 0; k < ld; k += WD) {
        VD rows[WD], re_own = zero, im_own = zero;
        UNROLLED
        for (idx j = 0; j < WD; j++) {
            rows[j] = zero;
            if (k + j >= users)
                continue;
            for (idx i = 0; i < ld; i += WD) {
                const VD re = load(RE(received, k + j, ld) + i);
                const VD im = load(IM(received, k + j, ld) + i);
                const VI own = only(k + j - i);
                rows[j] += pick(own, zero, re * re + im * im);
                re_own += pick(own, re, zero);
                im_own += pick(own, im, zero);
            }
        }
        const VD signal = re_own * re_own + im_own * im_own;
        const VD disturbance = noise + add_lanes_d(rows);
        store(at.direct + k, re_own);
        store(at.direct + ld + k, im_own);
        store(at.signal + k, signal);
        store(at.disturbance + k, disturbance);
        store(at.ratio + k, signal / disturbance);
    }
}

static void find_links(idx users, idx ld, const double *received, double noise, hf_links at) {
#define CALL(n) find_links_any(n ? n : users, n ? WD : ld, received, noise, at)
    CONSTANT_MATRIX(users, ld, CALL)
#undef CALL
}

/* sum_k alpha_k log2(1 + ratio_k). */
static double rate_of(idx ld, const double *ratio, const double *weights) {
    VD sum = {0};
    for (idx k = 0; k < ld; k += WD)
        sum += load(weights + k) * log1p_vd(load(ratio + k));
    return add_up(sum) * INV_LN2;
}

/* C of dR = (2 / ln 2) Re tr(C^H dA), scaled by 2 / ln 2; returns -dR/d(noise). */
static double rate_adjoint(idx users, idx ld, const double *received, const double *weights,
                           hf_links at, double *adjoint) {
    double d_noise = 0;
    for (idx k = 0; k < users; k++) {
        const double scale = weights[k] / (at.disturbance[k] * (1 + at.ratio[k]));
        const double cross = -2 * INV_LN2 * scale * at.ratio[k];
        for (idx i = 0; i < 2 * ld; i += WD)
            store(RE(adjoint, k, ld) + i, cross * load(RE(received, k, ld) + i));
        RE(adjoint, k, ld)[k] = 2 * INV_LN2 * scale * RE(received, k, ld)[k];
        IM(adjoint, k, ld)[k] = 2 * INV_LN2 * scale * IM(received, k, ld)[k];
        d_noise += INV_LN2 * scale * at.ratio[k];
    }
    return d_noise;
}

/* Scratch of a WMMSE sweep: K x ld planar matrices, and vectors over users. */
typedef struct {
    double *received, *system;
    double *half;
    double *aim; /* complex, ld apart */
} hf_sweep;

/* Psi <- (diag(a) X + c I)^{-1} diag(alpha w u), c = ratio sum(a), made Hermitian by
 * diag(a)^{1/2} on both sides (half), with u and w of the beams that were received with this
 * power; ratio = sigma^2 / P (MATH section 3.4). */
static void wmmse_update(idx users, idx ld, const double *gram, double *psi,
                         const double *received, double power, double ratio,
                         const double *weights, hf_links at, hf_sweep work) {
    if (!(power > 0)) {
        scale(users, ld, power, psi);
        return;
    }
    find_links(users, ld, received, ratio * power, at);
    const VD zero = {0};
    VD sum = {0};
    for (idx k = 0; k < ld; k += WD) {
        const VD total = load(at.disturbance + k) * (1 + load(at.ratio + k));
        const VD gain = load(weights + k) * (1 + load(at.ratio + k)); /* alpha w / |u|^2 */
        const VD signal = load(at.signal + k);
        const VD half = root(gain * signal) / total;
        store(work.half + k, half);
        const VD aim = pick(signal > 0, root(gain) / root(signal), zero);
        store(work.aim + k, aim * load(at.direct + k));
        store(work.aim + ld + k, aim * load(at.direct + ld + k));
        sum += half * half;
    }
    const double ridge = ratio * add_up(sum);
    if (!(ridge > 0))
        return;
    for (idx k = 0; k < users; k++)
        for (idx i = 0; i < ld; i += WD) {
            const VD factor = work.half[k] * load(work.half + i);
            const VD own = pick(only(k - i), splat(ridge), zero);
            store(RE(psi, k, ld) + i, factor * load(RE(gram, k, ld) + i) + own);
            store(IM(psi, k, ld) + i, factor * load(IM(gram, k, ld) + i));
        }
    invert_positive(users, ld, psi, work.system);
    for (idx k = 0; k < users; k++)
        for (idx i = 0; i < ld; i += WD) {
            const VD re = work.half[k] * load(RE(psi, k, ld) + i);
            const VD im = work.half[k] * load(IM(psi, k, ld) + i);
            const VD aim_re = load(work.aim + i), aim_im = load(work.aim + ld + i);
            store(RE(psi, k, ld) + i, re * aim_re - im * aim_im);
            store(IM(psi, k, ld) + i, re * aim_im + im * aim_re);
        }
}

/* A = X Psi, and the power of the beams. */
static double receive(idx users, idx ld, const double *gram, const double *psi,
                      double *received) {
    multiply(users, users, gram, ld, psi, ld, received);
    return inner_product(users, ld, psi, received);
}

/* One WMMSE sweep from Psi. */
static void wmmse_sweep(idx users, idx ld, const double *gram, double *psi, double ratio,
                        const double *weights, hf_links at, hf_sweep work) {
    const double power = receive(users, ld, gram, psi, work.received);
    wmmse_update(users, ld, gram, psi, work.received, power, ratio, weights, at, work);
}

/* Psi of the matched beams. */
static void matched(idx users, idx ld, const double *gram, double *psi) {
    clear(users, ld, psi);
    for (idx k = 0; k < users; k++)
        if (RE(gram, k, ld)[k] > 0)
            RE(psi, k, ld)[k] = 1 / sqrt(RE(gram, k, ld)[k]);
}

/* inverse = gram^+ (K x K); work: two K x ld matrices.  Returns whether gram is regular. */
static int invert(idx users, idx ld, const double *gram, double *inverse, double *work) {
    const size_t bytes = (size_t)(2 * users * ld) * sizeof(double);
    memcpy(inverse, gram, bytes);
    if (invert_positive(users, ld, inverse, work) > TINY)
        return 1;
    double *rotation = work + 2 * users * ld;
    memcpy(work, gram, bytes);
    const idx rank = jacobi_inverse(users, ld, TINY, work, rotation, ld);
    multiply_dagger(users, users, work, ld, rotation, ld, inverse);
    return rank == users;
}

/* q_k = max(f_k, alpha_k mu / cost_k - sigma^2, 0) with sum q_k cost_k = P, in place of the floors
 * f_k in `received`; those that do not fit are scaled down together.  order: workspace of K.
 * Returns mu, or minus how often the floors exceed the power. */
static double fill(idx users, const double *cost, double power, double noise,
                   const double *weights, idx *order, double *received) {
    double spent = 0;
    for (idx k = 0; k < users; k++)
        if (received[k] > 0)
            spent += received[k] * cost[k];
    if (!(spent <= power)) {
        for (idx k = 0; k < users; k++)
            received[k] *= power / spent;
        return -spent / power;
    }
#define BREAK(k) \
    (weights[k] > 0 ? (received[k] + noise) * cost[k] / weights[k] : (double)INFINITY)
    for (idx i = 0; i < users; i++) {
        idx at = i;
        for (; at > 0 && BREAK(order[at - 1]) > BREAK(i); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    double budget = power - spent, slope = 0;
    idx filled = 0;
    for (; filled < users; filled++) {
        const idx k = order[filled];
        if (!(BREAK(k) * slope < budget && BREAK(k) < INFINITY))
            break;
        budget += (received[k] > 0 ? received[k] * cost[k] : 0) + noise * cost[k];
        slope += weights[k];
    }
#undef BREAK
    for (idx i = 0; i < filled; i++) { /* rounding must not take a user below its floor */
        const idx k = order[i];
        received[k] = fmax(received[k], weights[k] * (budget / slope) / cost[k] - noise);
    }
    return filled ? budget / slope : 0;
}

#endif
