"""The typed functions of ``hmimo_fast_typed.h``, which take the table that ``kernels()`` gives.

Written by csrc/typed.py.
"""

from libc.stdint cimport int64_t, uint8_t

from hmimo_fast.kernels.native cimport hf_operand, hf_shape, hf_table


cdef extern from "hmimo_fast_typed.h" nogil:
    int hf_effective_channel(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, void *) noexcept
    int hf_sinr(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, void *) noexcept
    int hf_sum_rate(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, void *) noexcept
    int hf_sum_rate_gradient(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, void *, void *, void *) noexcept
    int hf_zero_forcing(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, void *, int64_t *) noexcept
    int hf_wmmse(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        int64_t, void *) noexcept
    int hf_water_filling(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, double *, uint8_t *) noexcept
    int hf_project(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand, int,
        void *) noexcept
    int hf_best_beams(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, int, int, int64_t, void *,
        double *) noexcept
    int hf_alternating(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, int, int, double, int64_t, double, int64_t, int64_t,
        void *, void *, double *, int64_t *, uint8_t *, double *) noexcept
    int hf_variable_projection(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, int,
        int64_t, int64_t, int64_t, int64_t, int64_t, double, int64_t, int64_t, int, void *, void *,
        double *, int64_t *, uint8_t *, double *) noexcept
    int hf_coordinate_descent(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, hf_operand, int, int, double, int64_t, int64_t, void *,
        void *, double *, int64_t *, uint8_t *, double *) noexcept
    int hf_wmmse_gradient(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, int, int64_t, double *, void *, void *) noexcept
    int hf_max_min(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand, void *,
        double *) noexcept
    int hf_min_power(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, void *, double *,
        uint8_t *) noexcept
    int hf_spectral_ascent(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, int, int64_t, int64_t,
        double *, void *, void *, void *, void *, void *, void *, void *, double *) noexcept
    int hf_state_ascent(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, hf_operand, hf_operand, hf_operand, int, double, int64_t, int, double *,
        int64_t *) noexcept
    int hf_link_budget(
        const hf_table *, const hf_shape *, hf_operand, hf_operand, hf_operand, hf_operand,
        hf_operand, int, void *, double *) noexcept
