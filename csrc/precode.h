/* Precoders from a given channel, on a batch: always in double, whatever the arrays hold,
 * since a Gram matrix squares the condition number.  hmimo_fast.h says what they take.
 */
#ifndef HF_PRECODE_H
#define HF_PRECODE_H

#include "users.h"

/* Arrays of either precision to planar double rows and back. */
static void read_rows(int single, idx rows, idx n, idx ld, const void *from, double *to) {
    if (single)
        widen_f(rows, n, ld, from, to);
    else
        split_d(rows, n, ld, from, to);
}

static void read_columns(int single, idx n, idx columns, idx ld, const void *from, double *to) {
    if (single)
        widen_columns_f(n, columns, ld, from, to);
    else
        widen_columns_d(n, columns, ld, from, to);
}

static void read_reals(int single, idx n, idx ld, const void *from, double *to) {
    for (idx i = 0; i < ld; i++)
        to[i] = i >= n ? 0 : single ? ((const float *)from)[i] : ((const double *)from)[i];
}

static void write_rows(int single, idx rows, idx columns, idx ld, const double *from, void *to,
                       idx at) {
    if (single)
        narrow_f(rows, columns, ld, from, (float *)to + at);
    else
        narrow_d(rows, columns, ld, from, (double *)to + at);
}

static void write_nan(int single, idx count, void *to, idx at) {
    for (idx i = at; i < at + count; i++)
        if (single)
            ((float *)to)[i] = NAN;
        else
            ((double *)to)[i] = NAN;
}

/* Singular values of an array in either precision count as zero under this, relatively. */
static double rank_tolerance(int single, idx rows, idx columns) {
    return (double)(rows > columns ? rows : columns) *
           (single ? 1.1920928955078125e-07 : 2.220446049250313e-16);
}

/* A factor's smallest over largest pivot above this leaves eight digits; below, Jacobi. */
#define REGULAR 1e-8

/* Gram matrix E E^H of planar rows, the transpose of the product conj(E) E^T. */
static void find_gram(work_d *w, double *gram) {
    product_d(w->K, w->K, w->ldn, w->channel, w->channel, 1, 1, w->sums, gram, w->ldk);
    mirror(w->K, w->ldk, gram);
    for (idx k = 0; k < w->K; k++)
        for (idx i = 0; i < w->ldk; i += WD)
            store(IM(gram, k, w->ldk) + i, -load(IM(gram, k, w->ldk) + i));
}

static double trace(idx n, idx ld, const double *a) {
    double sum = 0;
    for (idx i = 0; i < n; i++)
        sum += RE(a, i, ld)[i];
    return sum;
}

/* out = E^H M, (n, columns) interleaved: out_nc = sum_r conj(E_r[n]) M_rc. */
static void write_combination(int single, idx rows, idx columns, idx n, idx ld,
                              const double *restrict e, const double *restrict m, idx ld_m,
                              void *restrict out, idx at) {
    for (idx i = 0; i < n; i += WD) {
        const idx lanes = n - i < WD ? n - i : WD;
        for (idx c = 0; c < columns; c++) {
            VD re = {0}, im = {0};
            for (idx r = 0; r < rows; r++) {
                const VD e_re = load(RE(e, r, ld) + i), e_im = load(IM(e, r, ld) + i);
                const double m_re = RE(m, r, ld_m)[c], m_im = IM(m, r, ld_m)[c];
                re += m_re * e_re;
                im += m_im * e_re;
                re += m_im * e_im;
                im -= m_re * e_im;
            }
            for (idx j = 0; j < lanes; j++) {
                const idx to = at + 2 * ((i + j) * columns + c);
                if (single) {
                    ((float *)out)[to] = (float)re[j];
                    ((float *)out)[to + 1] = (float)im[j];
                } else {
                    ((double *)out)[to] = re[j];
                    ((double *)out)[to + 1] = im[j];
                }
            }
        }
    }
}

/* V = E^H Psi scaled to the power, whose Gram matrix E E^H is given; zero stays zero. */
static void write_precoder(int single, work_d *w, const double *gram, double *psi, double power,
                           void *out, idx at) {
    multiply(w->K, w->K, gram, w->ldk, psi, w->ldk, w->square[5]);
    const double spent = inner_product(w->K, w->ldk, psi, w->square[5]);
    if (!(spent <= 0))
        scale(w->K, w->ldk, sqrt(power / spent), psi);
    write_combination(single, w->K, w->K, w->N, w->ldn, w->channel, psi, w->ldk, out, at);
}

static int zero_forcing(hf_shape s, hf_operand effective, hf_operand power, void *precoder,
                        int64_t *rank) {
    work_d w;
    s.feeds = 1;
    const int status = open_d(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, M = w.N;
    double *gram = w.square[0], *factored = w.square[1], *psi = w.square[2];
    for (idx b = 0; b < s.batch; b++) {
        const idx at = 2 * b * M * K;
        const double target = number_d(power, b);
        read_rows(s.single, K, M, w.ldn, item_d(effective, b), w.channel);
        find_gram(&w, gram);
        memcpy(factored, gram, (size_t)(2 * K * w.ldk) * 8);
        if (!isfinite(trace(K, w.ldk, gram))) {
            rank[b] = 0;
            write_nan(s.single, 2 * M * K, precoder, at);
        } else if (factor(K, w.ldk, factored) > REGULAR) {
            rank[b] = K;
            clear(K, w.ldk, psi);
            for (idx k = 0; k < K; k++)
                RE(psi, k, w.ldk)[k] = 1;
            solve_lower(K, factored, w.ldk, w.ldk, psi);
            solve_upper(K, factored, w.ldk, w.ldk, psi);
            write_precoder(s.single, &w, gram, psi, target, precoder, at);
        } else { /* G^+ = Q^H J, with Q in place of the channel */
            rank[b] = jacobi_inverse(K, w.ldn, rank_tolerance(s.single, K, M), w.channel, psi,
                                     w.ldk);
            const double spent = norm2(K, w.ldn, w.channel);
            scale(K, w.ldk, spent > 0 ? sqrt(target / spent) : 0, psi);
            write_combination(s.single, K, K, M, w.ldn, w.channel, psi, w.ldk, precoder, at);
        }
    }
    free(w.block);
    return HF_OK;
}

static int wmmse(hf_shape s, hf_operand effective, hf_operand power, hf_operand noise_power,
                 hf_operand weights, int64_t iterations, void *precoder) {
    work_d w;
    s.feeds = 1;
    const int status = open_d(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, M = w.N;
    double *gram = w.square[0], *psi = w.square[1];
    for (idx b = 0; b < s.batch; b++) {
        const idx at = 2 * b * M * K;
        const double target = number_d(power, b);
        read_rows(s.single, K, M, w.ldn, item_d(effective, b), w.channel);
        memcpy(w.weights, item_d(weights, b), (size_t)K * 8);
        find_gram(&w, gram);
        if (!isfinite(trace(K, w.ldk, gram))) {
            write_nan(s.single, 2 * M * K, precoder, at);
            continue;
        }
        matched(K, w.ldk, gram, psi);
        for (int64_t i = 0; i < iterations; i++)
            wmmse_sweep(K, w.ldk, gram, psi, number_d(noise_power, b) / target, w.weights,
                        w.links, w.sweep);
        write_precoder(s.single, &w, gram, psi, target, precoder, at);
    }
    free(w.block);
    return HF_OK;
}

static int water_filling(hf_shape s, hf_operand cost, hf_operand power, hf_operand noise_power,
                         hf_operand weights, hf_operand min_rate, double *received,
                         uint8_t *feasible) {
    const idx users = s.users;
    idx *order = malloc((size_t)users * sizeof(idx));
    if (!order)
        return HF_NO_MEMORY;
    for (idx b = 0; b < s.batch; b++) {
        const double *cost_b = item_d(cost, b);
        double size = 0;
        for (idx k = 0; k < users; k++)
            size += cost_b[k];
        feasible[b] = fill(users, cost_b, number_d(power, b), number_d(noise_power, b),
                           item_d(weights, b), item_d(min_rate, b), order,
                           received + b * users) >= 0;
        if (size != size) {
            feasible[b] = 0;
            write_nan(0, users, received, b * users);
        }
    }
    free(order);
    return HF_OK;
}

/* V = B^+ W with B = diag(m) Phi: (B^H B)^{-1} B^H W, or where B lacks full column rank by
 * one-sided Jacobi on the rows of B^T = J^H Q, whose transposed inverse is J^T conj(Q). */
static int project(hf_shape s, hf_operand amplitudes, hf_operand phase, hf_operand precoder,
                   hf_operand power, int radiated, void *digital) {
    work_d w;
    const int status = open_d(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, N = w.N, L = w.L;
    double *gram = w.coupling, *target = w.digital, *rotation = w.feeds;
    for (idx b = 0; b < s.batch; b++) {
        read_columns(s.single, N, L, w.ldn, item_d(phase, b), w.phase);
        read_reals(s.single, N, w.ldn, item_d(amplitudes, b), w.amplitudes);
        read_columns(s.single, N, K, w.ldn, item_d(precoder, b), w.channel);
        scale_rows_d(L, w.ldn, w.amplitudes, w.phase, w.surface);
        product_d(L, K, w.ldn, w.surface, w.channel, 1, 0, w.sums, target, w.ldk);
        product_d(L, L, w.ldn, w.surface, w.surface, 1, 1, w.sums, gram, w.ldl);
        mirror(L, w.ldl, gram);
        memcpy(w.feeds, gram, (size_t)(2 * L * w.ldl) * 8);
        if (!isfinite(trace(L, w.ldl, gram) + norm2(L, w.ldk, target))) {
            write_nan(s.single, 2 * L * K, digital, 2 * b * L * K);
            continue;
        }
        if (factor(L, w.ldl, w.feeds) > REGULAR) {
            solve_lower(L, w.feeds, w.ldl, w.ldk, target);
            solve_upper(L, w.feeds, w.ldl, w.ldk, target);
        } else {
            jacobi_inverse(L, w.ldn, rank_tolerance(s.single, N, L), w.surface, rotation, w.ldl);
            product_d(L, K, w.ldn, w.surface, w.channel, 1, 0, w.sums, w.whitened, w.ldk);
            for (idx l = 0; l < L; l++) /* J^T = conj(J)^H */
                for (idx i = 0; i < w.ldl; i += WD)
                    store(IM(rotation, l, w.ldl) + i, -load(IM(rotation, l, w.ldl) + i));
            multiply_dagger(L, L, rotation, w.ldl, w.whitened, w.ldk, target);
        }
        double spent = norm2(L, w.ldk, target);
        if (radiated) {
            multiply(L, L, gram, w.ldl, target, w.ldk, w.whitened);
            spent = inner_product(L, w.ldk, target, w.whitened);
        }
        if (spent > 0)
            scale(L, w.ldk, sqrt(number_d(power, b) / spent), target);
        write_rows(s.single, L, K, w.ldk, target, digital, 2 * b * L * K);
    }
    free(w.block);
    return HF_OK;
}

#endif
