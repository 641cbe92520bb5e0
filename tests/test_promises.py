"""What the edge promises of every operator of the table, on every backend, in both precisions.

Shapes and types are those of the table; layouts, threads, slices and what else is in the batch
change no bit; a bad item spoils no other; what does not fit is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import BACKENDS

from hmimo_fast import kernels
from hmimo_fast.kernels import edge
from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS, dtypes_of

SIZES = {"K": 3, "N": 7, "L": 4, "M": 5, "F": 2, "G": 1, "S": 3}
BUDGETS = {"iterations": 3, "zf_iterations": 2, "sweeps": 2, "steps": 1}

#: Numba runs the same lines as NumPy, and takes a minute to compile each of the loops.
CASES = [
    (name, backend)
    for name in OPERATORS
    for backend in BACKENDS
    if backend != "numba" or hasattr(kernels, name)
]
everywhere = pytest.mark.parametrize(("name", "backend"), CASES, indirect=["backend"])
compiled = pytest.mark.parametrize(
    ("name", "backend"), [case for case in CASES if case[1] != "numpy"], indirect=["backend"]
)
precisions = pytest.mark.parametrize("single", [False, True], ids=["double", "single"])


def core(argument: str, name: str) -> tuple[int, ...]:
    return tuple(SIZES[letter] for letter in OPERATORS[name].inputs[argument])


def draw(name: str, lead: tuple[int, ...] = (), single: bool = False) -> dict[str, np.ndarray]:
    """Inputs of an operator; every second item has no minimum rate, and limits of the feeds."""
    rng = np.random.default_rng([len(lead), *map(ord, name)])
    inputs = {}
    for argument in OPERATORS[name].inputs:
        shape = lead + core(argument, name)
        if ARGUMENTS[argument].kind == "c":
            value = rng.normal(size=(*shape, 2)).view(complex)[..., 0]
            inputs[argument] = value.astype(np.complex64) if single else value
        else:
            value, values = rng.uniform(0.1, 0.9, shape), ARGUMENTS[argument].values
            allowed = values is None or np.all(values.allow(value))
            inputs[argument] = value if allowed else np.round(value)
            if argument == "amplitudes" and single:
                inputs[argument] = inputs[argument].astype(np.float32)
    if "min_rate" in inputs and lead:
        inputs["min_rate"][1::2] = 0.0
    if "feed_power" in inputs and "min_rate" in inputs:
        inputs["feed_power"][:: 2 if lead else 1] = np.inf
    return inputs


def run(name: str, inputs: dict[str, Any], **settings: Any) -> list[np.ndarray]:
    """Results in the order of the table; ``settings`` are options and those of the edge."""
    known = OPERATORS[name].options
    options = {option: number for option, number in BUDGETS.items() if option in known}
    options |= {option: settings.pop(option) for option in tuple(settings) if option in known}
    results = edge.call(name, list(inputs.values()), options, **settings)
    return list(results) if isinstance(results, tuple) else [results]


def same_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


# -- results -----------------------------------------------------------------------------


@everywhere
@precisions
def test_results_have_the_shapes_and_types_of_the_table(
    backend: str, name: str, single: bool
) -> None:
    for lead in ((), (3,), (2, 3), (0,), (2, 0)):
        inputs = draw(name, lead, single)
        results = run(name, inputs)
        for result, (output, letters) in zip(results, OPERATORS[name].outputs.items(), strict=True):
            if "I" not in letters:  # as many as the item with most iterations has
                assert result.shape == lead + tuple(SIZES[letter] for letter in letters)
                assert np.isfinite(result).all()
            assert result.dtype == dtypes_of(single)[ARGUMENTS[output].kind]
            assert result.flags.c_contiguous
            assert not any(np.shares_memory(result, value) for value in inputs.values())
        out = [np.empty_like(result) for result in results]
        into = [
            None if "I" in letters else array
            for array, letters in zip(out, OPERATORS[name].outputs.values(), strict=True)
        ]
        given = run(name, inputs, out=tuple(into) if len(into) > 1 else into[0])
        assert all(
            one is other for one, other in zip(given, into, strict=True) if other is not None
        )
        same_bits([np.asarray(result) for result in given], [np.asarray(r) for r in results])


@everywhere
@precisions
def test_leading_dimensions_broadcast(backend: str, name: str, single: bool) -> None:
    """An item of a batch has, up to rounding, the result that it has alone."""
    leads = [(2, 1), (3,), (), (2, 3), (1, 3), (1, 1)]
    inputs = {
        argument: draw(name, leads[place % 6], single)[argument]
        for place, argument in enumerate(OPERATORS[name].inputs)
    }
    shape = np.broadcast_shapes(*(leads[place % 6] for place in range(len(inputs))))
    # A step may leave fewer elements on than feeds, whose beams rounding decides.
    settings = {"steps": 0} if "steps" in OPERATORS[name].options else {}
    whole = run(name, inputs, **settings)
    loop = "converged" in OPERATORS[name].outputs  # whose steps amplify rounding
    allowance = (3e-2 if loop else 1e-3) if single else 1e-7
    for index in np.ndindex(shape):
        item = {
            argument: np.broadcast_to(value, shape + core(argument, name))[index]
            for argument, value in inputs.items()
        }
        for result, alone in zip(whole, run(name, item, **settings), strict=True):
            here = result[index][..., : alone.shape[-1]] if alone.ndim else result[index]
            scale = np.max(np.abs(alone), initial=1e-300)
            np.testing.assert_allclose(here, alone, rtol=0.0, atol=allowance * scale)


@everywhere
def test_what_is_left_out_is_the_default_of_the_table(backend: str, name: str) -> None:
    inputs, options = draw(name, (3,)), OPERATORS[name].options
    left_out = {
        argument: ARGUMENTS[argument].default
        for argument in inputs
        if ARGUMENTS[argument].default is not None
    }
    spelled = {
        argument: np.full((3, *core(argument, name)), value) for argument, value in left_out.items()
    }
    defaults = {option: known.default for option, known in options.items()} | {
        option: number for option, number in BUDGETS.items() if option in options
    }
    same_bits(run(name, inputs | dict.fromkeys(left_out)), run(name, inputs | spelled, **defaults))


# -- what changes no bit -----------------------------------------------------------------


def strided(array: np.ndarray) -> np.ndarray:
    every_second = (slice(None, None, 2),) * array.ndim
    wide = np.zeros([2 * length for length in array.shape], array.dtype)
    wide[every_second] = array
    return wide[every_second]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    view = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def tensor(array: np.ndarray) -> Any:
    """With a pending conjugation or a gradient, where that means anything."""
    torch = pytest.importorskip("torch")
    lazy = torch.from_numpy(array.conj().copy())
    return lazy.conj() if lazy.is_complex() else lazy.requires_grad_()


LAYOUTS: list[Callable[[np.ndarray], Any]] = [
    strided,
    lambda array: np.flip(np.flip(array).copy()),
    read_only,
    unaligned,
    np.asfortranarray,
    lambda array: array.astype(array.dtype.newbyteorder(">")),
    np.ma.asarray,
    tensor,
]


@everywhere
@precisions
def test_layouts_change_no_bit(backend: str, name: str, single: bool) -> None:
    inputs = draw(name, (3,), single)
    expected = run(name, inputs)
    for layout in LAYOUTS:
        laid_out = {argument: layout(value) for argument, value in inputs.items()}
        same_bits(run(name, laid_out), expected)
        for argument, value in inputs.items():
            if layout is not tensor:
                np.testing.assert_array_equal(laid_out[argument], value)
    if not single:
        lists = {argument: value.tolist() for argument, value in inputs.items()}
        same_bits(run(name, lists), expected)


@compiled
@precisions
def test_threads_and_slices_change_no_bit(
    backend: str, name: str, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only some of the items have minimum rates."""
    inputs = draw(name, (53,), single)
    expected = run(name, inputs, threads=1)
    monkeypatch.setattr(edge, "_SLICE", 1e-9)
    for threads in (2, 5, 40):
        same_bits(run(name, inputs, threads=threads), expected)
    monkeypatch.setattr(edge, "_LONG", 1e-9)
    for threads in (1, 5):
        same_bits(run(name, inputs, threads=threads), expected)


@everywhere
@precisions
def test_a_bad_item_spoils_no_other(backend: str, name: str, single: bool) -> None:
    """Whatever is bad about it: a NaN or an infinity in any input that may hold one."""
    size = 4 if backend == "numpy" else 11  # one pack of lanes and a part of the next
    clean = draw(name, (size,), single)
    others = [item for item in range(size) if item not in (2, size - 1)]
    powers = [False, True] if "radiated" in OPERATORS[name].options else [True]
    for radiated in powers:
        option = {"radiated": radiated} if len(powers) > 1 else {}
        expected = run(name, clean, **option)
        for argument, value in clean.items():
            allow = ARGUMENTS[argument].values
            for bad in (np.nan, np.inf):
                if allow is not None and not allow.allow(bad):
                    continue
                spoilt = value.copy()
                spoilt[2, ..., -1] = bad
                spoilt[(size - 1, *(0,) * (value.ndim - 1))] = bad
                found = run(name, clean | {argument: spoilt}, **option)
                for one, other in zip(found, expected, strict=True):
                    width = min(one.shape[-1], other.shape[-1])  # of histories
                    same_bits([one[others][..., :width]], [other[others][..., :width]])
                if np.isnan(bad):
                    assert np.isnan(found[0][2]).any()
                    assert np.isnan(found[0][-1]).any()
