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
    double *power;       /* |A_kj|^2, K x ld, diagonal zero */
} hf_links;

/* SINR of A = G V at this noise. */
static void find_links(idx users, idx ld, const double *received, double noise, hf_links at) {
    for (idx k = 0; k < users; k++) {
        double *row = at.power + k * ld;
        for (idx i = 0; i < ld; i += WD) {
            const VD re = load(RE(received, k, ld) + i), im = load(IM(received, k, ld) + i);
            store(row + i, re * re + im * im);
        }
        at.signal[k] = row[k];
        row[k] = 0;
    }
    for (idx k = 0; k < ld; k += WD) {
        VD rows[WD];
        for (idx j = 0; j < WD; j++) {
            rows[j] = (VD){0};
            if (k + j < users)
                for (idx i = 0; i < ld; i += WD)
                    rows[j] += load(at.power + (k + j) * ld + i);
        }
        const VD disturbance = noise + add_lanes_d(rows);
        store(at.disturbance + k, disturbance);
        store(at.ratio + k, load(at.signal + k) / disturbance);
    }
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

/* Scratch of a WMMSE sweep: K x ld planar matrices and a vector over users. */
typedef struct {
    double *received, *system, *half;
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
    VD sum = {0};
    for (idx k = 0; k < ld; k += WD) {
        const VD total = load(at.disturbance + k) * (1 + load(at.ratio + k));
        const VD a = load(weights + k) * (1 + load(at.ratio + k)) * load(at.signal + k) /
                     (total * total);
        VD half;
        for (int i = 0; i < WD; i++)
            half[i] = sqrt(a[i]);
        store(work.half + k, half);
        sum += a;
    }
    const double ridge = ratio * add_up(sum);
    if (!(ridge > 0))
        return;
    clear(users, ld, psi);
    for (idx k = 0; k < users; k++) {
        for (idx i = 0; i < ld; i += WD) {
            const VD factor = work.half[k] * load(work.half + i);
            store(RE(work.system, k, ld) + i, factor * load(RE(gram, k, ld) + i));
            store(IM(work.system, k, ld) + i, factor * load(IM(gram, k, ld) + i));
        }
        RE(work.system, k, ld)[k] += ridge;
        if (at.signal[k] > 0) {
            const double root = sqrt(weights[k] * (1 + at.ratio[k])) / sqrt(at.signal[k]);
            RE(psi, k, ld)[k] = root * RE(received, k, ld)[k];
            IM(psi, k, ld)[k] = root * IM(received, k, ld)[k];
        }
    }
    factor(users, ld, work.system);
    solve_lower(users, work.system, ld, ld, psi);
    solve_upper(users, work.system, ld, ld, psi);
    for (idx k = 0; k < users; k++)
        scale(1, ld, work.half[k], RE(psi, k, ld));
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
    memcpy(work, gram, bytes);
    clear(users, ld, inverse);
    if (factor(users, ld, work) > TINY) {
        for (idx k = 0; k < users; k++)
            RE(inverse, k, ld)[k] = 1;
        solve_lower(users, work, ld, ld, inverse);
        solve_upper(users, work, ld, ld, inverse);
        return 1;
    }
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
