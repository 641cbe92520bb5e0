# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C kernels as batch functions: sizes and pointers out of arrays that the edge has checked."""

cimport numpy as cnp
from libc.stdint cimport int64_t, uint8_t

cnp.import_array()


cdef const hf_table *kernels() noexcept nogil:
    return hf_kernels()


cdef int abi() noexcept nogil:
    return hf_abi()


cdef inline hf_operand operand(cnp.ndarray array) noexcept:
    """The data, and the step of its leading dimension; 0 where the batch shares one item."""
    cdef hf_operand result
    result.data = cnp.PyArray_DATA(array)
    result.step = 0 if cnp.PyArray_DIM(array, 0) == 1 else cnp.PyArray_STRIDE(array, 0)
    return result


cdef inline ptrdiff_t size(cnp.ndarray array, int axis) noexcept:
    return cnp.PyArray_DIM(array, axis)


cdef inline void *data(cnp.ndarray array) noexcept:
    return cnp.PyArray_DATA(array)


cdef inline int is_single(cnp.ndarray array) noexcept:
    cdef int kind = cnp.PyArray_TYPE(array)
    return kind == cnp.NPY_COMPLEX64 or kind == cnp.NPY_FLOAT32


cdef int check(int status) except -1:
    if status == HF_NO_MEMORY:
        raise MemoryError("no memory for the kernels' workspace")
    if status == HF_TOO_LARGE:
        raise ValueError("channel: expected sizes whose workspace fits in memory, got larger ones")
    return 0


cdef inline hf_shape link_shape(cnp.ndarray channel, cnp.ndarray phase, cnp.ndarray out) noexcept:
    cdef hf_shape shape
    shape.single = is_single(channel)
    shape.batch = size(out, 0)
    shape.users = size(channel, 1)
    shape.elements = size(channel, 2)
    shape.feeds = size(phase, 2)
    shape.channels = shape.phases = 1
    return shape


cdef inline hf_shape precoder_shape(cnp.ndarray effective, cnp.ndarray out) noexcept:
    cdef hf_shape shape
    shape.single = is_single(effective)
    shape.batch = size(out, 0)
    shape.users = size(effective, 1)
    shape.elements = size(effective, 2)
    shape.feeds = shape.channels = shape.phases = 1
    return shape


def level():
    """Name of the instruction-set level in use."""
    return hf_kernels().level.decode()


def address(str name):
    """Address of the kernel of this name on one item (hf_item_kernel in hmimo_fast.h)."""
    return <size_t>hf_item_kernel(name.encode())


def outside_unit(cnp.ndarray values):
    """Whether any value lies outside [0, 1]; NaN does not."""
    return hf_kernels().outside_unit(
        is_single(values), cnp.PyArray_SIZE(values), data(values)) != 0


cdef double[64] ONES
for index in range(64):
    ONES[index] = 1
cdef cnp.ndarray LIKE_DOUBLE = cnp.PyArray_ZEROS(0, NULL, cnp.NPY_FLOAT64, 0)
cdef cnp.ndarray LIKE_SINGLE = cnp.PyArray_ZEROS(0, NULL, cnp.NPY_FLOAT32, 0)


cdef inline bint ready(object value, int kind, int dimensions) noexcept:
    """Whether a value is an array that a kernel can take as it is."""
    return (
        type(value) is cnp.ndarray
        and cnp.PyArray_TYPE(value) == kind
        and cnp.PyArray_NDIM(value) == dimensions
        and cnp.PyArray_ISCARRAY_RO(value)
    )


cdef inline hf_operand only(object array) noexcept:
    cdef hf_operand result
    result.data = cnp.PyArray_DATA(array)
    result.step = 0
    return result


def link_item(
    bint gradient, channel, amplitudes, phase, digital, noise_power, weights
):
    """The sum rate of one item, or with its gradients, straight from the caller's arrays.

    None where anything is not as the kernel takes it, right or wrong: the edge sees to that.
    """
    cdef int kind, real, status
    cdef hf_shape shape
    cdef hf_operand w, noise
    cdef double sigma2, rate
    cdef float rate_single
    cdef Py_ssize_t k
    cdef cnp.npy_intp dims[2]
    cdef const double *weight
    if type(channel) is not cnp.ndarray or type(noise_power) is not float:
        return None
    kind = cnp.PyArray_TYPE(channel)
    real = cnp.NPY_FLOAT64 if kind == cnp.NPY_COMPLEX128 else cnp.NPY_FLOAT32
    shape.single = kind == cnp.NPY_COMPLEX64
    if not (shape.single or kind == cnp.NPY_COMPLEX128):
        return None
    if not (
        ready(channel, kind, 2)
        and ready(amplitudes, real, 1)
        and ready(phase, kind, 2)
        and ready(digital, kind, 2)
    ):
        return None
    shape.batch = shape.channels = shape.phases = 1
    shape.users, shape.elements = cnp.PyArray_DIM(channel, 0), cnp.PyArray_DIM(channel, 1)
    shape.feeds = cnp.PyArray_DIM(phase, 1)
    sigma2 = noise_power
    if not (
        cnp.PyArray_DIM(amplitudes, 0) == shape.elements
        and cnp.PyArray_DIM(phase, 0) == shape.elements
        and cnp.PyArray_DIM(digital, 0) == shape.feeds
        and cnp.PyArray_DIM(digital, 1) == shape.users
        and 0 < shape.users <= 64 and 0 < shape.elements <= 65536 and 0 < shape.feeds <= 64
        and 0 < sigma2 < float("inf")
    ):
        return None
    w.data, w.step = ONES, 0
    if weights is not None:
        if not ready(weights, cnp.NPY_FLOAT64, 1) or cnp.PyArray_DIM(weights, 0) != shape.users:
            return None
        w.data = cnp.PyArray_DATA(weights)
        weight = <const double *>w.data
        for k in range(shape.users):
            if not (0 <= weight[k] < float("inf")):
                return None
    if hf_kernels().outside_unit(shape.single, shape.elements, cnp.PyArray_DATA(amplitudes)):
        return None

    noise.data, noise.step = &sigma2, 0
    cdef void *out = <void *>&rate_single if shape.single else <void *>&rate
    cdef cnp.ndarray like = LIKE_SINGLE if shape.single else LIKE_DOUBLE
    if not gradient:
        status = hf_kernels().sum_rate(
            shape, only(channel), only(amplitudes), only(phase), only(digital), noise, w, out)
        check(status)
        return cnp.PyArray_ToScalar(out, like)
    dims[0], dims[1] = shape.elements, 0
    cdef cnp.ndarray d_amplitudes = cnp.PyArray_EMPTY(1, dims, real, 0)
    dims[0], dims[1] = shape.feeds, shape.users
    cdef cnp.ndarray d_digital = cnp.PyArray_EMPTY(2, dims, kind, 0)
    status = hf_kernels().sum_rate_gradient(
        shape, only(channel), only(amplitudes), only(phase), only(digital), noise, w,
        out, data(d_amplitudes), data(d_digital))
    check(status)
    return cnp.PyArray_ToScalar(out, like), d_amplitudes, d_digital


def effective_channel(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray effective
):
    cdef hf_shape shape = link_shape(channel, phase, effective)
    cdef hf_operand h = operand(channel), m = operand(amplitudes), p = operand(phase)
    cdef void *out = data(effective)
    cdef int status
    with nogil:
        status = hf_kernels().effective_channel(shape, h, m, p, out)
    check(status)


def sinr(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray digital,
    cnp.ndarray noise_power, cnp.ndarray ratio
):
    cdef hf_shape shape = link_shape(channel, phase, ratio)
    cdef hf_operand h = operand(channel), m = operand(amplitudes), p = operand(phase)
    cdef hf_operand v = operand(digital), noise = operand(noise_power)
    cdef void *out = data(ratio)
    cdef int status
    with nogil:
        status = hf_kernels().sinr(shape, h, m, p, v, noise, out)
    check(status)


def sum_rate(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray digital,
    cnp.ndarray noise_power, cnp.ndarray weights, cnp.ndarray rate
):
    cdef hf_shape shape = link_shape(channel, phase, rate)
    cdef hf_operand h = operand(channel), m = operand(amplitudes), p = operand(phase)
    cdef hf_operand v = operand(digital), noise = operand(noise_power), w = operand(weights)
    cdef void *out = data(rate)
    cdef int status
    with nogil:
        status = hf_kernels().sum_rate(shape, h, m, p, v, noise, w, out)
    check(status)


def sum_rate_gradient(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray digital,
    cnp.ndarray noise_power, cnp.ndarray weights,
    cnp.ndarray rate, cnp.ndarray d_amplitudes, cnp.ndarray d_digital
):
    cdef hf_shape shape = link_shape(channel, phase, rate)
    cdef hf_operand h = operand(channel), m = operand(amplitudes), p = operand(phase)
    cdef hf_operand v = operand(digital), noise = operand(noise_power), w = operand(weights)
    cdef void *out = data(rate)
    cdef void *out_m = data(d_amplitudes)
    cdef void *out_v = data(d_digital)
    cdef int status
    with nogil:
        status = hf_kernels().sum_rate_gradient(shape, h, m, p, v, noise, w, out, out_m, out_v)
    check(status)


def zero_forcing(cnp.ndarray effective, cnp.ndarray power, cnp.ndarray precoder, cnp.ndarray rank):
    cdef hf_shape shape = precoder_shape(effective, precoder)
    cdef hf_operand g = operand(effective), p = operand(power)
    cdef void *out = data(precoder)
    cdef int64_t *ranks = <int64_t *>data(rank)
    cdef int status
    with nogil:
        status = hf_kernels().zero_forcing(shape, g, p, out, ranks)
    check(status)


def wmmse(
    cnp.ndarray effective, cnp.ndarray power, cnp.ndarray noise_power, cnp.ndarray weights,
    int64_t iterations, cnp.ndarray precoder
):
    cdef hf_shape shape = precoder_shape(effective, precoder)
    cdef hf_operand g = operand(effective), p = operand(power)
    cdef hf_operand noise = operand(noise_power), w = operand(weights)
    cdef void *out = data(precoder)
    cdef int status
    with nogil:
        status = hf_kernels().wmmse(shape, g, p, noise, w, iterations, out)
    check(status)


def water_filling(
    cnp.ndarray cost, cnp.ndarray power, cnp.ndarray noise_power, cnp.ndarray weights,
    cnp.ndarray min_rate, cnp.ndarray received, cnp.ndarray feasible
):
    cdef hf_shape shape
    shape.single = 0
    shape.batch = size(received, 0)
    shape.users = size(cost, 1)
    shape.elements = shape.feeds = shape.channels = shape.phases = 1
    cdef hf_operand c = operand(cost), p = operand(power), noise = operand(noise_power)
    cdef hf_operand w = operand(weights), least = operand(min_rate)
    cdef double *out = <double *>data(received)
    cdef uint8_t *fits = <uint8_t *>data(feasible)
    cdef int status
    with nogil:
        status = hf_kernels().water_filling(shape, c, p, noise, w, least, out, fits)
    check(status)


def project(
    cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray precoder, cnp.ndarray power,
    bint radiated, cnp.ndarray digital
):
    cdef hf_shape shape
    shape.single = is_single(phase)
    shape.batch = size(digital, 0)
    shape.users = size(precoder, 2)
    shape.elements = size(phase, 1)
    shape.feeds = size(phase, 2)
    shape.channels = shape.phases = 1
    cdef hf_operand m = operand(amplitudes), p = operand(phase)
    cdef hf_operand x = operand(precoder), total = operand(power)
    cdef void *out = data(digital)
    cdef int status
    with nogil:
        status = hf_kernels().project(shape, m, p, x, total, radiated, out)
    check(status)


cdef inline hf_shape problem_shape(
    cnp.ndarray channel, cnp.ndarray phase, cnp.ndarray out
) noexcept:
    cdef hf_shape shape
    shape.single = is_single(channel)
    shape.batch = size(out, 0)
    shape.channels = size(channel, 1)
    shape.users = size(channel, 2)
    shape.elements = size(channel, 3)
    shape.phases = size(phase, 1)
    shape.feeds = size(phase, 3)
    return shape


cdef inline hf_problem problem(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray power,
    cnp.ndarray noise_power, cnp.ndarray weights, bint radiated
) noexcept:
    cdef hf_problem result
    result.channel = operand(channel)
    result.amplitudes = operand(amplitudes)
    result.phase = operand(phase)
    result.power = operand(power)
    result.noise_power = operand(noise_power)
    result.weights = operand(weights)
    result.radiated = radiated
    return result


cdef inline hf_solved solved(
    cnp.ndarray amplitudes, cnp.ndarray digital, cnp.ndarray sum_rate, cnp.ndarray iterations,
    cnp.ndarray converged, cnp.ndarray history
) noexcept:
    cdef hf_solved result
    result.amplitudes = data(amplitudes)
    result.digital = data(digital)
    result.sum_rate = <double *>data(sum_rate)
    result.iterations = <int64_t *>data(iterations)
    result.converged = <uint8_t *>data(converged)
    result.history = <double *>data(history)
    return result


def alternating(
    cnp.ndarray channel, cnp.ndarray start, cnp.ndarray phase, cnp.ndarray power,
    cnp.ndarray noise_power, cnp.ndarray weights,
    bint radiated, bint backtracking, double step, int64_t inner, double tolerance, int64_t iterations,
    cnp.ndarray amplitudes, cnp.ndarray digital, cnp.ndarray rate, cnp.ndarray made,
    cnp.ndarray converged, cnp.ndarray history
):
    cdef hf_shape shape = problem_shape(channel, phase, rate)
    cdef hf_problem given = problem(channel, start, phase, power, noise_power, weights, radiated)
    cdef hf_solved out = solved(amplitudes, digital, rate, made, converged, history)
    cdef int status
    with nogil:
        status = hf_kernels().alternating(
            shape, given, backtracking, step, inner, tolerance, iterations, out)
    check(status)


def variable_projection(
    cnp.ndarray channel, cnp.ndarray start, cnp.ndarray phase, cnp.ndarray power,
    cnp.ndarray noise_power, cnp.ndarray weights, cnp.ndarray min_rate,
    bint radiated, int64_t zf_iterations, int64_t iterations, int64_t candidates, int64_t sweeps,
    double tolerance,
    cnp.ndarray amplitudes, cnp.ndarray digital, cnp.ndarray rate, cnp.ndarray made,
    cnp.ndarray converged, cnp.ndarray history
):
    cdef hf_shape shape = problem_shape(channel, phase, rate)
    cdef hf_problem given = problem(channel, start, phase, power, noise_power, weights, radiated)
    cdef hf_operand least = operand(min_rate)
    cdef hf_solved out = solved(amplitudes, digital, rate, made, converged, history)
    cdef int status
    with nogil:
        status = hf_kernels().variable_projection(
            shape, given, least, zf_iterations, iterations, candidates, sweeps, tolerance, out)
    check(status)


def coordinate_descent(
    cnp.ndarray channel, cnp.ndarray start, cnp.ndarray phase, cnp.ndarray power,
    cnp.ndarray noise_power, cnp.ndarray weights,
    bint radiated, bint zero_forced, double tolerance, int64_t iterations,
    cnp.ndarray amplitudes, cnp.ndarray digital, cnp.ndarray rate, cnp.ndarray made,
    cnp.ndarray converged, cnp.ndarray history
):
    cdef hf_shape shape = problem_shape(channel, phase, rate)
    cdef hf_problem given = problem(channel, start, phase, power, noise_power, weights, radiated)
    cdef hf_solved out = solved(amplitudes, digital, rate, made, converged, history)
    cdef int status
    with nogil:
        status = hf_kernels().coordinate_descent(
            shape, given, zero_forced, tolerance, iterations, out)
    check(status)


def wmmse_gradient(
    cnp.ndarray channel, cnp.ndarray amplitudes, cnp.ndarray phase, cnp.ndarray digital,
    cnp.ndarray power, cnp.ndarray noise_power, cnp.ndarray weights,
    bint radiated, int64_t sweeps,
    cnp.ndarray sum_rate, cnp.ndarray to_digital, cnp.ndarray d_amplitudes
):
    cdef hf_shape shape = link_shape(channel, phase, sum_rate)
    cdef hf_problem given = problem(
        channel, amplitudes, phase, power, noise_power, weights, radiated)
    cdef hf_operand beams = operand(digital)
    cdef double *rate = <double *>data(sum_rate)
    cdef void *out_v = data(to_digital)
    cdef void *out_m = data(d_amplitudes)
    cdef int status
    with nogil:
        status = hf_kernels().wmmse_gradient(shape, given, beams, sweeps, rate, out_v, out_m)
    check(status)
