"""The problem that all solvers take, and the record of their results, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hmimo_fast as hf
from hmimo_fast.kernels import edge
from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS, dtypes_of
from hmimo_fast.problem import Problem
from hmimo_fast.solvers.found import Found

SIZES = {"K": 3, "N": 7, "L": 4, "M": 5, "F": 2, "G": 2, "S": 3}
SURFACE = hf.Surface(shape=(3, 3), feeds=3)
METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]


def drawn(argument: str, shape: tuple[int, ...], single: bool) -> np.ndarray:
    rng = np.random.default_rng([*map(ord, argument)])
    array: Any = rng.uniform(0.1, 0.9, shape)
    if ARGUMENTS[argument].kind == "c":
        array = array + 1j * rng.uniform(-0.5, 0.5, shape)
    values = ARGUMENTS[argument].values
    if values is not None and not values.allow(array).all():
        array = np.round(array)  # a flag
    return array.astype(dtypes_of(single)[ARGUMENTS[argument].kind])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    ("name", "element"),
    [(name, 0) for name in OPERATORS]
    + [(name, 2) for name, op in OPERATORS.items() if "element" in op.options],
)
@pytest.mark.parametrize("shared", [False, True])
def test_what_is_ready_runs_to_the_bits_of_a_call(
    name: str, element: int, single: bool, shared: bool
) -> None:
    """With arrays shared by the batch or not, defaults omitted, and complex amplitudes."""
    op, operands = OPERATORS[name], []
    options = {"element": element} if element else {}
    for argument, core in op.inputs.items():
        length = 1 if shared and argument in ("phase", "weights") else 4
        shape = (length, *(SIZES[letter] for letter in core))
        optional = shared and ARGUMENTS[argument].default is not None
        array = drawn(argument, shape, single)
        if element and argument == "amplitudes":
            array = np.exp(1j * array)
        operands.append(None if optional else array)
    results, expected = edge.run(name, operands, options), edge.call(name, operands, options)
    several = isinstance(results, tuple)
    pairs = zip(results, expected, strict=True) if several else [(results, expected)]
    for result, other in pairs:
        np.testing.assert_array_equal(result, other, strict=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_solve_checks_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is entered by its public edge, whatever starts, minimum rates and levels do."""
    made: list[Problem] = []
    of = Problem.of.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Problem], *args: Any, **kwargs: Any) -> Problem:
        made.append(of(cls, *args, **kwargs))
        return made[-1]

    monkeypatch.setattr(Problem, "of", classmethod(counted))
    monkeypatch.setattr(edge, "_INPUTS", {})  # which only the public edge reads
    channel = hf.channels.sparse_mmwave(SURFACE, users=3, size=2, seed=0)
    states = None if method == "fully_digital" else 2
    hf.solve(channel, SURFACE.phase, method=method, min_rate=3.0, starts=2, levels=states)
    assert len(made) == 1


@given(st.data())
def test_a_problem_is_its_items(data: st.DataObject) -> None:
    """Every item of a broadcast batch has what indexing the broadcast arguments gives it."""
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    shape = st.sampled_from([lead, (), (1,) * len(lead)])
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    several = data.draw(st.booleans())
    core = (*((2,) if several else ()), 4, 9)
    cores = {"channel": core, "power": (), "noise_power": (), "weights": (4,), "min_rate": (4,)}
    shapes = {name: data.draw(shape) + own for name, own in cores.items()}
    shapes["start"] = (*lead, 9)
    values = {name: rng.uniform(0.1, 1.0, size) for name, size in shapes.items()}
    arguments = {name: value for name, value in values.items() if name != "channel"}
    problem = Problem.of(values["channel"], SURFACE.phase, **arguments, shared=several)
    assert problem.batch == lead
    assert problem.size == np.prod(lead)

    def item(name: str, at: tuple[int, ...]) -> np.ndarray:
        own = {**cores, "start": (9,)}[name]
        return np.broadcast_to(values[name], lead + own)[at]

    rows = np.arange(problem.size)[::-1]
    part = problem.take(rows)
    sets = np.array([[0, 2], [1, 3]])[rows % 2]
    few = problem.of_users(rows, sets)
    for row, at in enumerate(reversed(list(np.ndindex(lead)))):
        users = sets[row]
        channel = item("channel", at).reshape(-1, 4, 9)
        weights = item("weights", at)
        for one in (part, problem.take(rows[row : row + 1])):
            index = row if one is part else 0

            def of_one(array: Any, one: Problem = one, index: int = index) -> Any:
                return np.broadcast_to(array, (one.size, *array.shape[1:]))[index]

            np.testing.assert_array_equal(of_one(one.channel), channel)
            np.testing.assert_array_equal(of_one(one.power), item("power", at))
            np.testing.assert_array_equal(of_one(one.noise_power), item("noise_power", at))
            np.testing.assert_array_equal(of_one(one.min_rate), item("min_rate", at))
            np.testing.assert_array_equal(of_one(one.start), item("start", at))
            np.testing.assert_allclose(of_one(one.weights) * of_one(one.heaviest), weights)
        np.testing.assert_array_equal(few.channel[row], channel[:, users])
        np.testing.assert_array_equal(few.min_rate[row], item("min_rate", at)[users])
        assert few.weights[row].max() == 1.0
        unit = weights[users] / weights.max()
        np.testing.assert_allclose(few.weights[row] * few.heaviest[row], unit)


def found(rng: np.random.Generator, items: int, recorded: int) -> Found:
    rates = rng.integers(0, 3, (items, 1, 2)).astype(float)
    value = rng.integers(0, 3, items).astype(float)  # not the sum rate: the score decides
    return Found(
        amplitudes=rng.uniform(size=(items, 3)),
        digital=rng.normal(size=(items, 1, 2, 2)).astype(complex),
        sinr=2.0**rates - 1.0,
        rates=rates,
        sum_rate=rates.sum(axis=(1, 2)),
        power_used=rng.uniform(size=(items, 1)),
        value=value,
        score=-value,
        feasible=rng.integers(0, 2, items).astype(bool),
        iterations=rng.integers(0, recorded, items),
        converged=rng.integers(0, 2, items).astype(bool),
        history=rng.uniform(size=(items, recorded)),
    )


@given(st.integers(0, 99), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4))
def test_the_better_of_two_item_by_item(seed: int, items: int, one: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = found(rng, items, one), found(rng, items, other)
    best = a.better(b)
    assert best.history.shape == (items, max(one, other))
    for i in range(items):
        scores = [(bool(each.feasible[i]), each.score[i]) for each in (a, b)]
        winner = b if scores[1] > scores[0] else a
        for name, array in vars(best).items():
            expected = vars(winner)[name][i]
            np.testing.assert_array_equal(array[i][: len(expected)] if name == "history" else
                                          array[i], expected)  # fmt: skip
        assert np.isnan(best.history[i, winner.history.shape[1] :]).all()


def test_several_sets_of_one_item_are_as_many_problems() -> None:
    """Sizes follow the sets, also where the batch is one item."""
    channel = hf.channels.rayleigh(SURFACE, users=4, seed=1)
    problem = Problem.of(channel, SURFACE.phase, 2.0, 0.1)
    sets = problem.of_users(np.zeros(3, int), np.array([[0, 1], [1, 2], [0, 3]]))
    assert sets.size == 3
    assert sets.power.tolist() == [2.0] * 3
    assert sets.noise_power.tolist() == [0.1] * 3
