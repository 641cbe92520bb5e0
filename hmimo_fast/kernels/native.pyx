# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C kernels as batch functions: sizes and pointers out of arrays that the edge has checked."""

cimport numpy as cnp

cnp.import_array()

ABI = HF_ABI
COUNT = HF_OPERATORS

cdef extern from *:
    const unsigned long long HF_SOURCE

cdef enum:
    MOST = 12  # inputs, options or outputs of an operator


cdef const hf_table *kernels() noexcept nogil:
    return hf_kernels()


cdef int abi() noexcept nogil:
    return hf_abi()


cdef inline bint is_single(cnp.ndarray array) noexcept:
    cdef int kind = cnp.PyArray_TYPE(array)
    return kind == cnp.NPY_COMPLEX64 or kind == cnp.NPY_FLOAT32


cdef inline hf_operand operand(cnp.ndarray array) noexcept:
    """The data, and the step of its leading dimension; 0 where the batch shares one item."""
    cdef hf_operand result
    result.data = cnp.PyArray_DATA(array)
    result.step = 0 if cnp.PyArray_DIM(array, 0) == 1 else cnp.PyArray_STRIDE(array, 0)
    return result


cdef int check(int status) except -1:
    if status == HF_NO_MEMORY:
        raise MemoryError("no memory for the kernels' workspace")
    if status == HF_TOO_LARGE:
        raise ValueError("channel: expected sizes whose workspace fits in memory, got larger ones")
    return 0


def source():
    """Digest of the C sources that this was compiled from; other compilers' builds have the same."""
    return f"{HF_SOURCE:016x}"


def level():
    """Name of the instruction-set level in use."""
    return hf_kernels().level.decode()


def address(int place):
    """Address of the operator at this place of the table."""
    return <size_t>hf_kernels().operators[place]


def outside_unit(cnp.ndarray values):
    """Whether any value lies outside [0, 1]; NaN does not."""
    return hf_kernels().outside_unit(
        is_single(values), cnp.PyArray_SIZE(values), cnp.PyArray_DATA(values)) != 0


cdef struct Arrays:
    int number
    int[MOST] kind
    Py_ssize_t[MOST] size


cdef int describe(Arrays *arrays, list described) except -1:
    arrays.number = len(described)
    if arrays.number > MOST:
        raise ValueError(f"expected at most {MOST} arrays, got {len(described)}")
    for i, (dtype, size) in enumerate(described):
        arrays.kind[i], arrays.size[i] = dtype.num, size
    return 0


cdef int check_batch(const Arrays *arrays, list given, Py_ssize_t batch, bint output) except -1:
    """Whether there is room, of the right kind, for what a kernel reads or writes."""
    cdef Py_ssize_t i, items
    cdef cnp.ndarray array
    if len(given) != arrays.number:
        raise ValueError(f"expected {arrays.number} arrays, got {len(given)}")
    for i in range(arrays.number):
        if not isinstance(given[i], cnp.ndarray):  # a cast lets None pass
            raise TypeError(f"expected an array, got {type(given[i]).__name__}")
        array = <cnp.ndarray>given[i]
        items = cnp.PyArray_DIM(array, 0) if cnp.PyArray_NDIM(array) else 0
        if not (
            cnp.PyArray_TYPE(array) == arrays.kind[i]
            and cnp.PyArray_ISCARRAY_RO(array)
            and (items == batch or (items == 1 and not output))
            and cnp.PyArray_SIZE(array) == items * arrays.size[i]
            and (cnp.PyArray_ISWRITEABLE(array) or not output)
        ):
            raise ValueError(
                f"{'output' if output else 'input'} {i}: expected a batch of {batch} times "
                f"{arrays.size[i]} contiguous numbers of the kernel's type, got {array.dtype} of "
                f"shape {given[i].shape}"
            )
    return 0


cdef class Kernel:
    """The operator at a place of the table, in one kind of numbers and of certain sizes.

    ``sizes`` are those of hf_shape from the users on; ``inputs`` and ``outputs`` hold the element
    type and the numbers of an item of each array.
    """

    cdef hf_operator function
    cdef hf_shape shape
    cdef Arrays inputs, outputs
    cdef int options

    def __init__(
        self, int place, bint single, bint turned, tuple sizes, list inputs, int options,
        list outputs
    ):
        describe(&self.inputs, inputs)
        describe(&self.outputs, outputs)
        self.options = options
        if not 0 <= place < HF_OPERATORS:
            raise ValueError(f"place: expected one of {HF_OPERATORS} operators, got {place}")
        self.function = hf_kernels().operators[place]
        self.shape.single, self.shape.turned = single, turned
        (self.shape.users, self.shape.elements, self.shape.feeds, self.shape.channels,
         self.shape.phases, self.shape.recorded, self.shape.states) = sizes
        self.shape.stop = NULL

    def run(
        self, list inputs, tuple options, list outputs, Py_ssize_t whole, int[::1] told=None
    ):
        cdef hf_shape shape = self.shape
        cdef hf_operand operands[MOST]
        cdef double numbers[MOST]
        cdef void *results[MOST]
        cdef Py_ssize_t i
        cdef int status
        if len(options) != self.options:
            raise ValueError(f"expected {self.options} options, got {len(options)}")
        shape.batch = len(outputs[0]) if outputs else 0
        shape.whole = whole
        check_batch(&self.inputs, inputs, shape.batch, False)
        check_batch(&self.outputs, outputs, shape.batch, True)
        for i in range(len(inputs)):
            operands[i] = operand(<cnp.ndarray>inputs[i])
        for i in range(len(options)):
            numbers[i] = options[i]
        for i in range(len(outputs)):
            results[i] = cnp.PyArray_DATA(<cnp.ndarray>outputs[i])
        if told is not None and len(told):
            shape.stop = &told[0]
        with nogil:
            status = self.function(&shape, operands, numbers, results)
        check(status)


# ---------------------------------------------------------------- one item, the shortest way

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


def link_item(
    bint gradient, channel, amplitudes, phase, digital, noise_power, weights
):
    """The sum rate of one item, or with its gradients, straight from the caller's arrays.

    None where anything is not as the kernel takes it, right or wrong: the edge sees to that.
    """
    cdef int kind, real
    cdef hf_shape shape
    cdef hf_operand operands[6]
    cdef void *results[3]
    cdef double sigma2, rate
    cdef float rate_single
    cdef Py_ssize_t i
    cdef cnp.npy_intp dims[2]
    cdef const double *weight = ONES
    if type(channel) is not cnp.ndarray or type(noise_power) is not float:
        return None
    kind = cnp.PyArray_TYPE(channel)
    real = cnp.NPY_FLOAT64 if kind == cnp.NPY_COMPLEX128 else cnp.NPY_FLOAT32
    shape.single, shape.turned = kind == cnp.NPY_COMPLEX64, 0
    if not (shape.single or kind == cnp.NPY_COMPLEX128):
        return None
    if not (
        ready(channel, kind, 2)
        and ready(amplitudes, real, 1)
        and ready(phase, kind, 2)
        and ready(digital, kind, 2)
    ):
        return None
    shape.batch = shape.whole = shape.channels = shape.phases = 1
    shape.recorded = shape.states = 0
    shape.stop = NULL
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
    if weights is not None:
        if not ready(weights, cnp.NPY_FLOAT64, 1) or cnp.PyArray_DIM(weights, 0) != shape.users:
            return None
        weight = <const double *>cnp.PyArray_DATA(weights)
        for i in range(shape.users):
            if not (0 <= weight[i] < float("inf")):
                return None
    if hf_kernels().outside_unit(shape.single, shape.elements, cnp.PyArray_DATA(amplitudes)):
        return None

    for i in range(6):
        operands[i].step = 0
    operands[0].data = cnp.PyArray_DATA(channel)
    operands[1].data = cnp.PyArray_DATA(amplitudes)
    operands[2].data = cnp.PyArray_DATA(phase)
    operands[3].data = cnp.PyArray_DATA(digital)
    operands[4].data = &sigma2
    operands[5].data = weight
    results[0] = <void *>&rate_single if shape.single else <void *>&rate
    cdef cnp.ndarray like = LIKE_SINGLE if shape.single else LIKE_DOUBLE
    if not gradient:
        check(hf_kernels().operators[HF_SUM_RATE](&shape, operands, NULL, results))
        return cnp.PyArray_ToScalar(results[0], like)
    dims[0], dims[1] = shape.elements, 0
    cdef cnp.ndarray d_amplitudes = cnp.PyArray_EMPTY(1, dims, real, 0)
    dims[0], dims[1] = shape.feeds, shape.users
    cdef cnp.ndarray d_digital = cnp.PyArray_EMPTY(2, dims, kind, 0)
    results[1] = cnp.PyArray_DATA(d_amplitudes)
    results[2] = cnp.PyArray_DATA(d_digital)
    check(hf_kernels().operators[HF_SUM_RATE_GRADIENT](&shape, operands, NULL, results))
    return cnp.PyArray_ToScalar(results[0], like), d_amplitudes, d_digital
