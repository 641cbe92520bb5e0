# cython: language_level=3
"""Calls a C kernel of an installed hmimo_fast on typed memory, without the GIL."""

from cython.view cimport array

from hmimo_fast.kernels.native cimport HF_ABI, abi, hf_operand, hf_shape, kernels
from hmimo_fast.kernels.typed cimport hf_sum_rate

if abi() != HF_ABI:
    raise ImportError(f"compiled for interface {HF_ABI} of hmimo_fast's kernels, found {abi()}")


def sum_rate(
    const double complex[:, :, ::1] channel,
    const double[:, ::1] amplitudes,
    const double complex[:, ::1] phase,
    const double complex[:, :, ::1] digital,
    double noise_power,
):
    """Sum rates (B) of channels (B, K, N): every operand a pointer and its step in bytes."""
    cdef hf_shape shape
    shape.single = shape.turned = 0
    shape.recorded = 0
    shape.stop = NULL
    shape.whole = channel.shape[0]
    shape.batch, shape.users, shape.elements = channel.shape[0], channel.shape[1], channel.shape[2]
    shape.feeds = phase.shape[1]
    shape.channels = shape.phases = 1
    cdef double[::1] weights = array((shape.users,), itemsize=8, format="d")
    cdef double[::1] rate = array((shape.batch,), itemsize=8, format="d")
    cdef int status
    weights[:] = 1
    with nogil:
        status = hf_sum_rate(
            kernels(),
            &shape,
            hf_operand(&channel[0, 0, 0], channel.strides[0]),
            hf_operand(&amplitudes[0, 0], amplitudes.strides[0]),
            hf_operand(&phase[0, 0], 0),
            hf_operand(&digital[0, 0, 0], digital.strides[0]),
            hf_operand(&noise_power, 0),
            hf_operand(&weights[0], 0),
            &rate[0],
        )
    if status:
        raise MemoryError(f"hmimo_fast: status {status}")
    return rate.base
