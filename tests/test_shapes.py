"""Wrong shapes, types and layouts never reach a kernel: not from ``@njit``, not through Cython."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from hmimo_fast import kernels
from hmimo_fast.kernels import backends, jit
from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS

FEW = {"iterations": 1, "zf_iterations": 1, "sweeps": 1, "inner": 1, "candidates": 1}
MANY = settings(max_examples=6 * settings().max_examples)

ENTRIES = [  # what is not C is compiled by Numba, the least of it in the quick part
    pytest.param(
        prefix + name, marks=[] if prefix or name == "effective_channel" else [pytest.mark.slow]
    )
    for prefix in ("", "native_")
    for name in OPERATORS
]


def fits(name: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether shapes are those of one item, by an independent rule, letter by letter."""
    sizes: dict[str, set[int]] = {}
    for argument, shape in shapes.items():
        for letter, length in zip(OPERATORS[name].inputs[argument], shape, strict=True):
            sizes.setdefault(letter, set()).add(length)
    if any(len(lengths) > 1 or 0 in lengths for lengths in sizes.values()):
        return False
    size = {letter: lengths.pop() for letter, lengths in sizes.items()}
    if "G" in size and size["G"] not in (1, size["F"]):
        return False
    return name != "zero_forcing" or size["K"] <= size["M"]


def value_of(argument: str, shape: tuple[int, ...]) -> Any:
    if not shape:
        return 0.5
    kind = {"c": complex, "r": float, "q": float, "d": float}[ARGUMENTS[argument].kind]
    return np.full(shape, 0.5, kind) + 0.01 * np.arange(np.prod(shape)).reshape(shape) % 0.3


@pytest.mark.parametrize("entry", ENTRIES)
@MANY
@given(data=st.data())
def test_jit_functions_refuse_all_shapes_that_do_not_fit(entry: str, data: Any) -> None:
    name = entry.removeprefix("native_")
    if entry != name and backends.missing_kernels():
        pytest.skip("built without a compiler")
    op = OPERATORS[name]
    base = {letter: data.draw(st.integers(1, 4)) for letter in "FGKLMNS"}
    shapes = {
        argument: tuple(base[letter] for letter in core)
        for argument, core in op.inputs.items()
        if core
    }
    changed = data.draw(st.sampled_from([None, *shapes]))
    if changed:
        shapes[changed] = tuple(data.draw(st.integers(0, 5)) for _ in shapes[changed])
    inputs = [value_of(argument, shapes.get(argument, ())) for argument in op.inputs]
    options = [FEW.get(option.name, option.default) for option in op.options.values()]
    function = getattr(jit, entry)
    if fits(name, shapes):
        function(*inputs, *options)
    else:
        with pytest.raises(ValueError, match=r"^\w+: expected "):
            function(*inputs, *options)


@pytest.mark.slow  # Numba compiles each of the refusals
@pytest.mark.parametrize("entry", ["sum_rate", "native_sum_rate"])
def test_jit_functions_refuse_other_types(entry: str) -> None:
    """Too few dimensions, an array for a number, a number for an array, text."""
    if entry != "sum_rate" and backends.missing_kernels():
        pytest.skip("built without a compiler")
    function, op = getattr(jit, entry), OPERATORS["sum_rate"]
    good = [value_of(argument, (2,) * len(core)) for argument, core in op.inputs.items()]
    function(*good)
    for position, value in enumerate(good):
        for bad in ("text", value[0] if np.ndim(value) else np.full(2, 0.5)):
            with pytest.raises((TypingError, ValueError)):
                function(*good[:position], bad, *good[position + 1 :])


# ------------------------------------------------------------------ Cython

SIZES = {"F": 2, "G": 1, "K": 2, "N": 3, "L": 2, "M": 3, "I": 4, "S": 3}
SPOILT = {
    "longer": lambda a: np.concatenate([a, a], -1) if a.ndim > 1 else np.tile(a, 2),
    "shorter": lambda a: a[..., :-1] if a.ndim > 1 else a[:-1],
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "other type": lambda a: a.real.astype(np.float16),
    "other precision": lambda a: a.astype({"c": "c8", "f": "f4"}.get(a.dtype.kind, "i2")),
    "misaligned": lambda a: misaligned(a),
    "no array": lambda a: a.tolist(),
    "scalar": lambda a: a[..., 0].sum(keepdims=False)[()],
    "none": lambda a: None,
}


def misaligned(array: np.ndarray) -> np.ndarray:
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("name", OPERATORS)
@MANY
@given(data=st.data())
def test_the_cython_edge_refuses_what_would_be_read_or_written_wrongly(
    name: str, data: Any
) -> None:
    if backends.missing_kernels():
        pytest.skip("built without a compiler")
    op, batch = OPERATORS[name], data.draw(st.integers(3, 6))
    types = {"c": complex, "r": float, "q": float, "d": float, "i": np.int64, "b": bool}
    arrays = [
        [
            np.full((batch, *(SIZES[x] for x in core)), 0.5, types[ARGUMENTS[argument].kind])
            for argument, core in side.items()
        ]
        for side in (op.inputs, op.outputs)
    ]
    options = tuple(FEW.get(option.name, option.default) for option in op.options.values())
    letters = {*"I".join([*op.inputs.values(), *op.outputs.values()])}
    run = backends.batch_function("native", name, False, {x: SIZES[x] for x in letters})
    run(arrays[0], options, arrays[1], batch)
    side = arrays[data.draw(st.integers(0, 1))]
    at = data.draw(st.integers(0, len(side) - 1))
    how = data.draw(st.sampled_from([*SPOILT, "one less", "one more", "read-only", "options"]))
    if how == "one less":
        del side[at]
    elif how == "one more":
        side.append(side[at])
    elif how == "options":
        options = (*options, 1.0)
    elif how == "read-only":
        side = arrays[1]
        side[at % len(side)].flags.writeable = False
    else:
        kept, side[at] = side[at], SPOILT[how](side[at])
        if isinstance(side[at], np.ndarray) and side[at].ndim:
            same = side[at].dtype == kept.dtype and side[at].shape == kept.shape
            if same and side[at].flags.carray and side[at].dtype.isnative:
                return  # spoils nothing here: one number, or one byte
    with pytest.raises((TypeError, ValueError)):
        run(arrays[0], options, arrays[1], batch)


def test_one_item_the_shortest_way_is_left_to_the_edge_where_anything_is_off(monkeypatch) -> None:
    """Cython's `link_item` returns None, and the edge raises the error."""
    if backends.missing_kernels():
        pytest.skip("built without a compiler")
    good = [np.full(s, 0.5, t) for s, t in (((2, 3), complex), ((3,), float), ((3, 2), complex),
                                             ((2, 2), complex))]  # fmt: skip
    native = backends.native
    assert native.link_item(True, *good, 0.1, None) is not None
    for at, array in enumerate(good):
        for how, spoil in SPOILT.items():
            bad = spoil(array)
            given_ = [*good[:at], bad, *good[at + 1 :]]
            assert native.link_item(True, *given_, 0.1, None) is None, (at, how)
    for weights in (np.ones(3), np.ones(2, np.float32), -np.ones(2), [1.0, 1.0], np.ones((2, 1))):
        assert native.link_item(True, *good, 0.1, weights) is None
    for noise in (0.0, -1.0, np.nan, np.inf, np.ones(1), "1", None):
        assert native.link_item(True, *good, noise, None) is None
    with pytest.raises(ValueError, match=r"^digital: expected"):
        kernels.sum_rate_gradient(*good[:3], np.ones((2, 1)), 0.1)
