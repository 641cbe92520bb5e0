/* Precoders from a given channel, on a batch: always in double, whatever the arrays hold,
 * since a Gram matrix squares the condition number.  hmimo_fast.h says what they take.
 */
#ifndef HF_PRECODE_H
#define HF_PRECODE_H

#include "users.h"

/* Arrays of either precision to double and back. */
static void read_rows(int single, idx rows, idx n, idx ld, const void *from, double *to) {
    if (!single) {
        copy_rows_d(rows, n, ld, from, to);
        return;
    }
    for (idx r = 0; r < rows; r++)
        for (idx i = 0; i < ld; i++)
            to[r * ld + i] = i < 2 * n ? ((const float *)from)[r * 2 * n + i] : 0;
}

INLINE double read_one(int single, const void *from, idx i) {
    return single ? ((const float *)from)[i] : ((const double *)from)[i];
}

/* Waves of the columns of an n x columns matrix (passes.inc.h). */
static void read_waves(int single, idx n, idx columns, idx ld, const void *from, double *to) {
    const idx step = stride_d(ld);
    memset(to, 0, (size_t)(2 * columns * step) * 8);
    for (idx c = 0; c < columns; c++, to += 2 * step)
        for (idx i = 0; i < n; i++) {
            to[2 * i] = to[step + 2 * i + 1] = read_one(single, from, 2 * (i * columns + c));
            to[step + 2 * i] = read_one(single, from, 2 * (i * columns + c) + 1);
            to[2 * i + 1] = -to[step + 2 * i];
        }
}

/* Waves of the conjugates of rows (K x n): F_0 is the row itself, F_1 = (-im, re, ...). */
static void read_conjugates(int single, idx rows, idx n, idx ld, const void *from, double *to) {
    const idx step = stride_d(ld);
    for (idx r = 0; r < rows; r++, to += 2 * step) {
        for (idx i = 0; i < 2 * n; i += 2) {
            const double re = read_one(single, from, r * 2 * n + i);
            const double im = read_one(single, from, r * 2 * n + i + 1);
            to[i] = to[step + i + 1] = re;
            to[i + 1] = im;
            to[step + i] = -im;
        }
        for (idx i = 2 * n; i < step; i++)
            to[i] = to[step + i] = 0;
    }
}

static void read_reals(int single, idx n, idx ld, const void *from, double *to) {
    for (idx i = 0; i < ld; i++)
        to[i] = i < n ? read_one(single, from, i) : 0;
}

static void write_reals(int single, idx n, const double *from, void *to, idx at) {
    for (idx i = 0; i < n; i++)
        if (single)
            ((float *)to)[at + i] = (float)from[i];
        else
            ((double *)to)[at + i] = from[i];
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

/* X = E E^H of the rows in w->conjugates, every other one of which is a row of E. */
static void find_gram(work_d *w, double *gram) {
    product_any_d(w->K, w->K, w->ld, NULL, w->conjugates, 2 * stride_d(w->ld), w->conjugates, 1,
                  &w->ahead, w->strip, w->sums, gram, w->ldk);
    mirror(w->K, w->ldk, gram);
}

static double trace(idx n, idx ld, const double *a) {
    double sum = 0;
    for (idx i = 0; i < n; i++)
        sum += RE(a, i, ld)[i];
    return sum;
}

/* V = E^H Psi of an item's rows as they came. */
static void write_combination(int single, work_d *w, const void *item, const double *psi,
                              void *out, idx at) {
    const idx K = w->K, M = w->N, ld_pairs = round_up(2 * K, WF);
    if (single) {
        make_pairs_f(K, K, psi, w->ldk, (float *)w->pairs, ld_pairs);
        combine_f(K, K, M, item, 2 * M, (float *)w->pairs, ld_pairs, (float *)out + at);
    } else {
        make_pairs_d(K, K, psi, w->ldk, w->pairs, ld_pairs);
        combine_d(K, K, M, item, 2 * M, w->pairs, ld_pairs, (double *)out + at);
    }
}

/* V = G^H Psi of power `spent` scaled to the power; zero stays zero. */
static void write_precoder(int single, work_d *w, const void *item, double *psi, double spent,
                           double power, void *out, idx at) {
    if (!(spent <= 0))
        scale(w->K, w->ldk, sqrt(power / spent), psi);
    write_combination(single, w, item, psi, out, at);
}

/* Interleaved rows `step` apart to planar ones of ld / 2, and back to rows of ld. */
static void to_planar(idx rows, idx ld, const double *restrict from, idx step,
                      double *restrict to) {
    for (idx r = 0; r < rows; r++)
        for (idx i = 0; i < ld / 2; i++) {
            to[r * ld + i] = from[r * step + 2 * i];
            to[r * ld + ld / 2 + i] = from[r * step + 2 * i + 1];
        }
}

static void to_interleaved(idx rows, idx ld, const double *restrict from, double *restrict to) {
    for (idx r = 0; r < rows; r++)
        for (idx i = 0; i < ld / 2; i++) {
            to[r * ld + 2 * i] = from[r * ld + i];
            to[r * ld + 2 * i + 1] = from[r * ld + ld / 2 + i];
        }
}

/* S = Phi^H diag(m)^2 Phi at the amplitudes in w->twice: the rows conj(Phi) are every other
 * wave of Phi. */
static void find_feed_gram(work_d *w, const double *waves, double *gram) {
    for (idx i = 0; i < w->ld; i += WD)
        store(w->squares + i, load(w->twice + i) * load(w->twice + i));
    product_any_d(w->L, w->L, w->ld, w->squares, waves, 2 * stride_d(w->ld), waves, 1, &w->ahead,
                  w->strip, w->sums, gram, w->ldl);
    mirror(w->L, w->ldl, gram);
}

static int zero_forcing(hf_shape s, hf_operand effective, hf_operand power, void *precoder,
                        int64_t *rank) {
    work_d w;
    s.feeds = 1;
    const int status = open_d(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, M = w.N;
    double *gram = w.square[0], *psi = w.square[1], *work = w.square[2];
    for (idx b = 0; b < s.batch; b++) {
        const idx at = 2 * b * M * K;
        const double target = number_d(power, b);
        const void *item = item_d(effective, b);
        read_conjugates(s.single, K, M, w.ld, item, w.conjugates);
        if (b + 1 < s.batch)
            w.ahead = look_ahead(item_d(effective, b + 1), effective.step, 1);
        find_gram(&w, gram);
        memcpy(psi, gram, (size_t)(2 * K * w.ldk) * 8);
        if (!isfinite(trace(K, w.ldk, gram))) {
            rank[b] = 0;
            write_nan(s.single, 2 * M * K, precoder, at);
        } else if (invert_positive(K, w.ldk, psi, work) > REGULAR) {
            rank[b] = K;
            write_precoder(s.single, &w, item, psi, trace(K, w.ldk, psi), target, precoder, at);
        } else { /* G^+ = Q^H J */
            to_planar(K, w.ld, w.conjugates, 2 * stride_d(w.ld), w.spare);
            rank[b] = jacobi_inverse(K, w.ld / 2, rank_tolerance(s.single, K, M), w.spare, psi,
                                     w.ldk);
            const double spent = norm2(K, w.ld / 2, w.spare);
            scale(K, w.ldk, spent > 0 ? sqrt(target / spent) : 0, psi);
            to_interleaved(K, w.ld, w.spare, w.channel);
            for (idx r = 0; r < K; r++) /* compact rows in the item's precision */
                for (idx i = 0; i < 2 * M; i++)
                    if (s.single)
                        ((float *)w.conjugates)[r * 2 * M + i] = (float)w.channel[r * w.ld + i];
                    else
                        w.conjugates[r * 2 * M + i] = w.channel[r * w.ld + i];
            write_combination(s.single, &w, w.conjugates, psi, precoder, at);
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
        const void *item = item_d(effective, b);
        read_conjugates(s.single, K, M, w.ld, item, w.conjugates);
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
        const double spent = receive(K, w.ldk, gram, psi, w.square[5]);
        write_precoder(s.single, &w, item, psi, spent, target, precoder, at);
    }
    free(w.block);
    return HF_OK;
}

static int water_filling(hf_shape s, hf_operand cost, hf_operand power, hf_operand noise_power,
                         hf_operand weights, hf_operand min_rate, double *received,
                         uint8_t *feasible) {
    const idx users = s.users;
    if (users > MOST)
        return HF_TOO_LARGE;
    idx *order = malloc((size_t)users * sizeof(idx));
    if (!order)
        return HF_NO_MEMORY;
    for (idx b = 0; b < s.batch; b++) {
        const double *cost_b = item_d(cost, b), *floor = item_d(min_rate, b);
        const double noise = number_d(noise_power, b);
        double size = 0;
        for (idx k = 0; k < users; k++) {
            size += cost_b[k];
            received[b * users + k] = expm1(floor[k] / INV_LN2) * noise;
        }
        feasible[b] = fill(users, cost_b, number_d(power, b), noise, item_d(weights, b), order,
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
 * one-sided Jacobi on the rows of B^H = J^H Q, so B^+ = J^H Q / |Q|^2. */
static int project(hf_shape s, hf_operand amplitudes, hf_operand phase, hf_operand precoder,
                   hf_operand power, int radiated, void *digital) {
    work_d w;
    const int status = open_d(&w, s, 1, 1);
    if (status)
        return status;
    const idx K = w.K, N = w.N, L = w.L;
    double *gram = w.coupling, *target = w.digital, *rotation = w.feeds;
    for (idx b = 0; b < s.batch; b++) {
        read_waves(s.single, N, L, w.ld, item_d(phase, b), w.waves);
        read_waves(s.single, N, K, w.ld, item_d(precoder, b), w.conjugates);
        read_reals(s.single, N, N, item_d(amplitudes, b), w.slope);
        duplicate_d(N, w.ld, w.slope, w.twice);
        find_feed_gram(&w, w.waves, gram);
        product_d(L, K, w.ld, w.twice, w.waves, 2 * stride_d(w.ld), w.conjugates, &w.ahead,
                  w.strip, w.sums, w.beams_out, w.ldl);
        dagger(K, L, w.beams_out, w.ldl, target, w.ldk); /* B^H W */
        memcpy(w.feeds, gram, (size_t)(2 * L * w.ldl) * 8);
        if (!isfinite(trace(L, w.ldl, gram) + norm2(L, w.ldk, target))) {
            write_nan(s.single, 2 * L * K, digital, 2 * b * L * K);
            continue;
        }
        if (factor(L, w.ldl, w.feeds) > REGULAR) {
            solve_lower(L, w.feeds, w.ldl, w.ldk, target);
            solve_upper(L, w.feeds, w.ldl, w.ldk, target);
        } else {
            for (idx l = 0; l < L; l++)
                for (idx i = 0; i < w.ld; i++)
                    w.waves[l * w.ld + i] = w.twice[i] * w.waves[2 * l * stride_d(w.ld) + i];
            to_planar(L, w.ld, w.waves, w.ld, w.spare);
            jacobi_inverse(L, w.ld / 2, rank_tolerance(s.single, N, L), w.spare, rotation, w.ldl);
            to_interleaved(L, w.ld, w.spare, w.waves);
            product_d(L, K, w.ld, NULL, w.waves, w.ld, w.conjugates, &w.ahead,
                      w.strip, w.sums, w.beams_out, w.ldl);
            dagger(K, L, w.beams_out, w.ldl, w.whitened, w.ldk);
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
