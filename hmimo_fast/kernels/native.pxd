"""The C interface for other Cython modules.

``from hmimo_fast.kernels.native cimport kernels, hf_shape, hf_operand`` gives the table of C
functions (hmimo_fast.h says what each takes, ``typed.pxd`` has one with named arguments for each);
compile with ``hmimo_fast.get_include()``, and compare ``abi()`` with ``HF_ABI`` when imported.
"""


cdef extern from "hmimo_fast.h" nogil:
    enum:
        HF_ABI
        HF_OK
        HF_NO_MEMORY
        HF_TOO_LARGE
        HF_STOPPED
        HF_SUM_RATE
        HF_SUM_RATE_GRADIENT
        HF_OPERATORS

    ctypedef struct hf_operand:
        const void *data
        ptrdiff_t step

    ctypedef struct hf_shape:
        int single
        int turned
        ptrdiff_t batch
        ptrdiff_t whole
        ptrdiff_t users
        ptrdiff_t elements
        ptrdiff_t feeds
        ptrdiff_t channels
        ptrdiff_t phases
        ptrdiff_t recorded
        ptrdiff_t states
        const int *stop

    ctypedef int (*hf_operator)(
        const hf_shape *, const hf_operand *, const double *, void *const *) noexcept nogil

    ctypedef struct hf_table:
        const char *level
        int outside_unit(int, ptrdiff_t, const void *) noexcept nogil
        hf_operator *operators

    const hf_table *hf_kernels() noexcept
    int hf_abi() noexcept
    const hf_table *hf_kernels_of(const char *level) noexcept


cdef const hf_table *kernels() noexcept nogil
cdef int abi() noexcept nogil
