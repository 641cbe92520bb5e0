"""The C interface for other Cython modules.

``from hmimo_fast.kernels.native cimport kernels, hf_shape, hf_operand`` gives the table of C
functions (hmimo_fast.h says what each takes); compile with ``hmimo_fast.get_include()``, and
compare ``abi()`` with ``HF_ABI`` when imported.
"""

from libc.stdint cimport int64_t, uint8_t


cdef extern from "hmimo_fast.h" nogil:
    enum:
        HF_ABI
        HF_OK
        HF_NO_MEMORY
        HF_TOO_LARGE

    ctypedef struct hf_operand:
        const void *data
        ptrdiff_t step

    ctypedef struct hf_shape:
        int single
        ptrdiff_t batch
        ptrdiff_t users
        ptrdiff_t elements
        ptrdiff_t feeds
        ptrdiff_t channels
        ptrdiff_t phases

    ctypedef struct hf_problem:
        hf_operand channel
        hf_operand amplitudes
        hf_operand phase
        hf_operand power
        hf_operand noise_power
        hf_operand weights
        int radiated

    ctypedef struct hf_solved:
        void *amplitudes
        void *digital
        double *sum_rate
        int64_t *iterations
        uint8_t *converged
        double *history

    ctypedef struct hf_table:
        const char *level
        int outside_unit(int, ptrdiff_t, const void *) noexcept nogil
        int effective_channel(hf_shape, hf_operand, hf_operand, hf_operand, void *) noexcept nogil
        int sinr(
            hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, void *) noexcept nogil
        int sum_rate(
            hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand,
            void *) noexcept nogil
        int sum_rate_gradient(
            hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand,
            void *, void *, void *) noexcept nogil
        int zero_forcing(hf_shape, hf_operand, hf_operand, void *, int64_t *) noexcept nogil
        int wmmse(
            hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, int64_t, void *) noexcept nogil
        int water_filling(
            hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, hf_operand, double *,
            uint8_t *) noexcept nogil
        int project(hf_shape, hf_operand, hf_operand, hf_operand, hf_operand, int, void *) noexcept nogil
        int alternating(
            hf_shape, hf_problem, int, double, int64_t, double, int64_t, hf_solved) noexcept nogil
        int variable_projection(
            hf_shape, hf_problem, hf_operand, int64_t, int64_t, int64_t, int64_t, double,
            hf_solved) noexcept nogil
        int coordinate_descent(
            hf_shape, hf_problem, int, double, int64_t, hf_solved) noexcept nogil
        int wmmse_gradient(
            hf_shape, hf_problem, hf_operand, int64_t, double *, void *, void *) noexcept nogil

    const hf_table *hf_kernels() noexcept
    int hf_abi() noexcept
    const hf_table *hf_kernels_of(const char *level) noexcept

    ctypedef void (*hf_function)() noexcept
    hf_function hf_item_kernel(const char *name) noexcept


cdef const hf_table *kernels() noexcept nogil
cdef int abi() noexcept nogil
