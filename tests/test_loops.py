"""The fused loops, `variable_projection` and `alternating`: backends, oracles, invariants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast import kernels
from hmimo_fast.kernels import edge
from hmimo_fast.kernels.definitions.alternating import backtrack, force, state_terms
from hmimo_fast.kernels.definitions.element import AMPLITUDE, Elements
from hmimo_fast.kernels.definitions.joint import fixed_terms


class Problem(NamedTuple):
    channel: np.ndarray  # (..., F, K, N)
    amplitudes: np.ndarray
    phase: np.ndarray  # (G, N, L)
    power: Any
    noise_power: Any
    weights: Any


class Solved(NamedTuple):
    amplitudes: np.ndarray
    digital: np.ndarray
    sum_rate: Any
    iterations: Any
    converged: Any
    history: np.ndarray


class Shape(NamedTuple):
    elements: int
    feeds: int
    users: int
    channels: int = 1
    phases: int = 1

    def __str__(self) -> str:
        return "-".join(f"{letter}{size}" for letter, size in zip("NLKFG", self, strict=True))


FEW_USERS = [  # zero forcing exists
    Shape(1, 1, 1),
    Shape(5, 3, 1),
    Shape(9, 3, 2),
    Shape(16, 4, 4),
    Shape(9, 4, 3, 3, 1),
    Shape(13, 3, 3, 2, 2),
    Shape(64, 6, 6),
    Shape(40, 9, 8),
    Shape(30, 10, 10),  # rows of two vectors
    Shape(1100, 8, 2),  # too large for the table of the products of feeds
]
MANY_USERS = [Shape(12, 3, 5), Shape(7, 1, 2), Shape(8, 2, 4, 2, 2)]

few_users = pytest.mark.parametrize("shape", FEW_USERS, ids=str)
any_users = pytest.mark.parametrize("shape", FEW_USERS + MANY_USERS, ids=str)
conventions = pytest.mark.parametrize("radiated", [False, True], ids=["digital", "radiated"])
loops = pytest.mark.parametrize("loop", ["variable_projection", "alternating", "descent"])


def draw(shape: Shape, batch: tuple[int, ...] = (), seed: int = 0) -> Problem:
    """Gaussian channels, random waves, powers and weights of its own for every item."""
    elements, feeds, users, channels, phases = shape
    rng = np.random.default_rng([*shape, *batch, seed])
    size = (*batch, channels, users, elements)
    channel = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    return Problem(
        channel / math.sqrt(2 * elements),
        rng.uniform(0.05, 1.0, (*batch, elements)),
        np.exp(2j * np.pi * rng.uniform(size=(phases, elements, feeds))),
        rng.uniform(0.5, 2.0, batch) if batch else 1.7,
        rng.uniform(0.02, 0.2, batch) if batch else 0.05,
        rng.uniform(0.5, 2.0, (*batch, users)),
    )


def project(
    problem: Problem, radiated: bool, first: int = 5, second: int = 6, candidates: int = 2,
    sweeps: int = 2, tolerance: float = 1e-9, **how: Any,
) -> Solved:  # fmt: skip
    options = {
        "radiated": radiated, "zf_iterations": first, "iterations": second,
        "candidates": candidates, "sweeps": sweeps, "tolerance": tolerance,
    }  # fmt: skip
    return Solved(*edge.call("variable_projection", (*problem, None), options, **how))


def alternate(
    problem: Problem, radiated: bool, step: float = 0.02, inner: int = 1,
    tolerance: float = 1e-4, iterations: int = 10, backtracking: bool = False, **how: Any,
) -> Solved:  # fmt: skip
    options = {
        "radiated": radiated, "backtracking": backtracking, "step": step, "inner": inner,
        "tolerance": tolerance, "iterations": iterations,
    }  # fmt: skip
    return Solved(*edge.call("alternating", problem, options, **how))


def descend(
    problem: Problem, radiated: bool, zero_forced: bool = False, tolerance: float = 1e-12,
    iterations: int = 10, **how: Any,
) -> Solved:  # fmt: skip
    options = {
        "radiated": radiated, "zero_forced": zero_forced, "tolerance": tolerance,
        "iterations": iterations,
    }  # fmt: skip
    return Solved(*edge.call("coordinate_descent", problem, options, **how))


RUN: dict[str, Callable[..., Solved]] = {
    "variable_projection": project,
    "alternating": alternate,
    "descent": descend,
}


def agree(actual: Any, expected: Any, tolerance: float) -> None:
    """Equal relative to the largest magnitude, NaN at the same places."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(~np.isnan(actual), known)
    error = np.max(np.abs(actual - expected)[known], initial=0.0)
    assert error <= tolerance * np.max(np.abs(expected[known]), initial=0.0)


def same_solution(actual: Solved, expected: Solved, tolerance: float) -> None:
    for name in ("amplitudes", "digital", "sum_rate", "history"):
        agree(getattr(actual, name), getattr(expected, name), tolerance)
    np.testing.assert_array_equal(actual.iterations, expected.iterations)
    np.testing.assert_array_equal(actual.converged, expected.converged)


def same_bits(actual: Solved, expected: Solved) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def item(values: Any, at: Any) -> Any:
    """One item of a batched problem or solution; the phase of a problem is shared."""
    return type(values)(
        *(
            value if name == "phase" else np.asarray(value)[at]
            for name, value in zip(values._fields, values, strict=True)
        )
    )


def single(problem: Problem) -> Problem:
    return problem._replace(
        channel=problem.channel.astype(np.complex64),
        amplitudes=problem.amplitudes.astype(np.float32),
        phase=problem.phase.astype(np.complex64),
    )


def in_backend(name: str) -> Iterator[str]:
    try:
        with kernels.backend(name):
            yield name
    except ImportError:
        pytest.skip("built without the C kernels")


@pytest.fixture
def native() -> Iterator[str]:
    yield from in_backend("native")


@pytest.fixture(params=["numpy", "native"])
def quick(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend but Numba, which runs NumPy's definition and takes a minute to compile it."""
    yield from in_backend(request.param)


# -- backends ----------------------------------------------------------------------------


def interpreted(loop: str, problem: Problem, radiated: bool, **options: Any) -> Solved:
    with kernels.backend("numpy"):
        return RUN[loop](problem, radiated, **options)


@conventions
@any_users
def test_native_projects_as_defined(native: str, shape: Shape, radiated: bool) -> None:
    problem = draw(shape, (3,))
    expected = interpreted("variable_projection", problem, radiated)
    same_solution(project(problem, radiated), expected, 1e-8)


@conventions
@few_users
@pytest.mark.parametrize("inner", [0, 1, 3])
def test_native_alternates_as_defined(
    native: str, shape: Shape, radiated: bool, inner: int
) -> None:
    problem, options = draw(shape, (3,)), {"inner": inner, "tolerance": 0.02}
    expected = interpreted("alternating", problem, radiated, **options)
    same_solution(alternate(problem, radiated, **options), expected, 1e-8)


@conventions
@few_users
@pytest.mark.parametrize("inner", [0, 1, 3])
def test_native_backtracks_as_defined(
    native: str, shape: Shape, radiated: bool, inner: int
) -> None:
    problem = draw(shape, (3,))
    options = {"inner": inner, "tolerance": 0.02, "backtracking": True, "step": 0.2}
    expected = interpreted("alternating", problem, radiated, **options)
    same_solution(alternate(problem, radiated, **options), expected, 1e-8)


@conventions
def test_backtracking_is_monotone_at_fixed_beams(radiated: bool) -> None:
    """Every step raises the rate, from a first guess far too long or too short; a fixed step of
    that length does not."""
    problem = draw(Shape(16, 4, 3, 2, 2))
    h, phase, power, noise = problem.channel, problem.phase, problem.power, problem.noise_power
    given = power, noise, problem.weights, radiated
    digital = force(h, phase, problem.amplitudes, power, radiated)
    elements = Elements(AMPLITUDE, problem.amplitudes + 0j, np.ones(16))
    for guess in (100.0, 1e-6):
        m, length = problem.amplitudes, guess
        rate, gradient = state_terms(h, phase, elements, m, digital, *given)
        overshot = np.clip(m + 100.0 * gradient, 0.0, 1.0)
        assert fixed_terms(h, phase, overshot, digital, *given)[0] < rate
        first = rate
        for _ in range(30):
            before = rate
            m, rate, gradient, length = backtrack(
                h, phase, elements, m, digital, *given, rate, gradient, length
            )
            assert ((m >= 0.0) & (m <= 1.0)).all()
            assert rate >= before
            assert rate == pytest.approx(fixed_terms(h, phase, m, digital, *given)[0])
        assert rate > first * 1.01


def test_backtracking_stays_where_no_step_helps() -> None:
    problem = draw(Shape(4, 2, 2))
    h, phase, start = problem.channel, problem.phase, problem.amplitudes
    digital, still = np.ones((1, 2, 2), complex), np.full(4, np.nan)
    elements = Elements(AMPLITUDE, start + 0j, np.ones(4))
    m, rate, gradient, length = backtrack(
        h, phase, elements, start, digital, 1.0, 0.1, np.ones(2), False, 1.0, still, 0.3
    )
    np.testing.assert_array_equal(m, start)
    assert (rate, length) == (1.0, 0.3)
    assert gradient is still


@conventions
@pytest.mark.parametrize("inner", [0, 1, 5])
def test_backtracking_reaches_more_on_average(radiated: bool, inner: int) -> None:
    problem = draw(Shape(25, 4, 4), (40,))
    options = {"inner": inner, "step": 0.01, "iterations": 60}
    fixed = alternate(problem, radiated, **options)
    found = alternate(problem, radiated, backtracking=True, **options)
    assert found.sum_rate.mean() >= fixed.sum_rate.mean()


@conventions
@loops
def test_native_in_single_precision(native: str, loop: str, radiated: bool) -> None:
    """Only the arrays are single: both backends compute in double."""
    problem = single(draw(Shape(16, 4, 3, 2, 2), (3,)))
    solved, expected = RUN[loop](problem, radiated), interpreted(loop, problem, radiated)
    assert solved.digital.dtype == np.complex64
    assert solved.amplitudes.dtype == np.float32
    assert solved.history.dtype == np.float64
    agree(solved.history, expected.history, 1e-8)
    same_solution(solved, expected, 1e-6)


@pytest.mark.slow  # Numba compiles the loops for minutes
@loops
def test_numba_runs_the_definition(loop: str) -> None:
    problem = draw(Shape(6, 3, 2, 2, 2), (2,))
    with kernels.backend("numba"):
        solved = RUN[loop](problem, True)
    same_solution(solved, interpreted(loop, problem, True), 1e-8)


@loops
def test_weights_are_one_by_default(native: str, loop: str) -> None:
    problem = draw(Shape(9, 3, 3), (2,))
    absent = RUN[loop](problem._replace(weights=None), True)
    ones = RUN[loop](problem._replace(weights=np.ones((2, 3))), True)
    same_bits(absent, ones)


# -- an oracle of its own formulas -------------------------------------------------------


class Channel:
    """One channel of a problem at given amplitudes, beams in the L x L form."""

    def __init__(self, problem: Problem, f: int, radiated: bool) -> None:
        self.h = problem.channel[f]
        self.phi = problem.phase[min(f, len(problem.phase) - 1)]
        self.radiated = radiated
        self.power, self.noise, self.alpha = problem[3:]

    def effective(self, m: np.ndarray) -> np.ndarray:
        return np.array(naive.effective_channel(self.h, m, self.phi))

    def metric(self, m: np.ndarray) -> np.ndarray:
        """B with the power of V as tr V^H B V."""
        surface = m[:, None] * self.phi
        return surface.conj().T @ surface if self.radiated else np.eye(self.phi.shape[1])

    def spent(self, m: np.ndarray, v: np.ndarray) -> float:
        return naive.used_power(v, *((m, self.phi) if self.radiated else ()))

    def at_power(self, m: np.ndarray, v: np.ndarray) -> np.ndarray:
        return v * math.sqrt(self.power / self.spent(m, v))

    def rate(self, m: np.ndarray, v: np.ndarray) -> float:
        """Rate of V once scaled to the power."""
        v = self.at_power(m, v)
        return naive.sum_rate(self.h, m, self.phi, v, self.noise, self.alpha)

    def bend(self, m: np.ndarray, v: np.ndarray) -> np.ndarray:
        """How fast the rate falls with the power of each element's wave, up to a common factor."""
        v = self.at_power(m, v)

        def louder(t: float) -> float:
            noise = self.noise * math.exp(t)
            return naive.sum_rate(self.h, m, self.phi, v, noise, self.alpha)

        return -naive.slope(louder, 1e-4) * np.sum(np.abs(self.phi @ v) ** 2, axis=1)

    def zero_forcing(self, m: np.ndarray) -> np.ndarray:
        cost = np.array(naive.zero_forcing_cost(self.h, m, self.phi, self.radiated))
        return self.at_power(m, self.spread(m, cost))

    def zero_forcing_rate(self, m: np.ndarray) -> float:
        return naive.zero_forcing_rate(
            self.h, m, self.phi, self.power, self.noise, self.alpha, radiated=self.radiated
        )

    def filled(self, m: np.ndarray) -> np.ndarray:
        """Psi of zero forcing with water-filled powers."""
        cost = np.array(naive.zero_forcing_cost(self.h, m, self.phi, self.radiated))
        each = naive.water_filling(cost.diagonal().real, self.power, self.noise, self.alpha)[0]
        return cost * np.sqrt(each)

    def spread(self, m: np.ndarray, psi: np.ndarray) -> np.ndarray:
        """V = B^-1 G^H Psi."""
        return np.linalg.solve(self.metric(m), self.effective(m).conj().T @ psi)

    def swept(self, m: np.ndarray, psi: np.ndarray, sweeps: int) -> np.ndarray:
        """Psi after WMMSE sweeps: c B V = G^H (alpha w u - diag(a) G V) gives it from V."""
        g, b, ratio = self.effective(m), self.metric(m), self.noise / self.power
        for _ in range(sweeps):
            v = self.spread(m, psi)
            a = g @ v
            gains = np.abs(a) ** 2
            total = ratio * self.spent(m, v) + gains.sum(1)
            u = a.diagonal() / total
            w = total / (total - gains.diagonal())
            mask = self.alpha * w * np.abs(u) ** 2
            c = ratio * mask.sum()
            target = np.diag(self.alpha * w * u)
            v = np.linalg.solve(g.conj().T @ (mask[:, None] * g) + c * b, g.conj().T @ target)
            psi = (target - mask[:, None] * (g @ v)) / c
        return psi


def differences(function: Callable[[np.ndarray], float], m: np.ndarray) -> np.ndarray:
    rows = np.eye(len(m))
    return np.array([naive.slope(lambda t, row=row: function(m + t * row), 1e-4) for row in rows])


Evaluation = tuple[float, np.ndarray, Any]  # rate, gradient, Psi of every channel


def inverse_curvature(
    pairs: list[tuple[np.ndarray, np.ndarray]], free: np.ndarray, bend: np.ndarray
) -> Any:
    """The BFGS inverse of minus the second derivative over the free elements, as a matrix.

    It begins with the inverse of each element's own ``bend``, softened by a twentieth of the mean.
    """
    pairs = [(s * free, y * free) for s, y in pairs]
    s, y = pairs[-1]
    first = np.diag(free / (bend + bend.mean() / 20))
    inverse = first * (s @ y / (y @ first @ y) if s @ y > 0.0 else math.nan)
    for s, y in pairs:
        if s @ y > 0.0:
            left = np.diag(free) - np.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    return inverse


def climbed(
    evaluate: Callable[[np.ndarray, Any], Evaluation],
    m: np.ndarray,
    psi: Any,
    steps: int,
    upper: float,
    bend: Callable[[np.ndarray, Any], np.ndarray] | None,
) -> tuple[np.ndarray, Any, list[float]]:
    """Nonmonotone projected gradient, spectral or quasi-Newton; ``steps`` evaluations at most.

    The rates after each evaluation: a step that is not taken repeats the last.
    """
    rate, g, psi = evaluate(m, psi)
    rates, kept, best, made = [rate], [rate], (rate, m, psi), 0
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    step = 0.2 / np.abs(g).max()
    while made < steps:
        d = np.clip(m + step * g, 0.0, upper) - m
        if g @ d < 1e-9:
            break
        if bend and pairs:
            free = 1.0 * ((m > 0.0) | (g > 0.0))
            inverse = inverse_curvature(pairs[-1:], free, bend(m, psi))
            bent = np.clip(m + inverse @ g, 0.0, upper) - m
            d = bent if g @ bent > 1e-9 else d
        length = 1.0
        while True:
            trial = m + length * d
            rate, trial_g, trial_psi = evaluate(trial, psi)
            made += 1
            if rate >= min(kept[-5:]) + 1e-4 * length * (g @ d):
                break
            rates.append(kept[-1])
            if made == steps:
                return best[1], best[2], rates
            # the top of the parabola through kept[-1], the slope there and the rate reached
            curve = (rate - kept[-1] - length * (g @ d)) / length**2
            length = min(max(-(g @ d) / (2.0 * curve), 0.1 * length), 0.5 * length)
        s, y = trial - m, g - trial_g
        pairs.append((s, y))
        step = min(max(s @ s / (s @ y), 1e-8), 1e4) if s @ y > 0.0 else 100.0
        m, g, psi = trial, trial_g, trial_psi
        rates.append(rate)
        kept.append(rate)
        if rate > best[0]:
            best = rate, m, psi
    return best[1], best[2], rates


def spanning(problem: Problem, m: np.ndarray, rounds: int) -> np.ndarray:
    """m halfway to the surface that spans the users' channels best, by least squares in turns."""
    spaces = [np.linalg.svd(h, full_matrices=False)[2].conj().T for h in problem.channel]
    found = m
    for _ in range(rounds):
        fields = []
        for f, space in enumerate(spaces):
            phi = problem.phase[min(f, len(problem.phase) - 1)]
            fields.append(phi @ np.linalg.lstsq(found[:, None] * phi, space)[0])
        # of each element, m_n with m_n * (its fields) next to (its rows of the spaces)
        wanted, had = np.hstack(spaces), np.hstack(fields)
        rows = [
            (np.r_[w.real, w.imag], np.r_[h.real, h.imag]) for w, h in zip(wanted, had, strict=True)
        ]
        found = np.array([max(w @ h / (h @ h), 0.0) for w, h in rows])
        found /= found.max()
    return (m + found) / 2.0


def alone(problem: Problem, k: int) -> float:
    """Gain of a user alone, with the elements that help a beam matched to it, after two rounds."""
    gain = 0.0
    for f, channel in enumerate(problem.channel):
        h, phi = channel[k], problem.phase[min(f, len(problem.phase) - 1)]
        on = np.ones(len(h), bool)
        for _ in range(2):
            beam = (h[on] @ phi[on]).conj()
            on = np.array([(h[n] * (phi[n] @ beam)).real > 0.0 for n in range(len(h))])
        gain += np.linalg.norm(h[on] @ phi[on]) ** 2
    return gain


def sets(problem: Problem, radiated: bool, candidates: int) -> Iterator[tuple[list[int], int]]:
    """Whom each candidate serves, in semi-orthogonal order by Gram-Schmidt, and its start."""
    rows = np.hstack(list(problem.channel))
    if not radiated:
        for k in range(len(rows)):
            rows[k] *= math.sqrt(alone(problem, k)) / np.linalg.norm(rows[k])
    order: list[int] = []
    left = []
    while len(order) < len(rows):
        taken = np.linalg.qr(rows[order].T)[0] if order else np.zeros((rows.shape[1], 0))
        away = rows.T - taken @ (taken.conj().T @ rows.T)
        gains = np.linalg.norm(away, axis=0) ** 2
        weighted = problem.weights * gains
        order.append(max((k for k in range(len(rows)) if k not in order), key=weighted.__getitem__))
        left.append(gains[order[-1]])
    snr = 0.15 * np.array(left) * problem.power / problem.noise_power / len(problem.channel)
    rates = [
        sum(problem.weights[order[i]] * math.log2(1.0 + snr[i] / count) for i in range(count))
        for count in range(1, min(len(rows), problem.phase.shape[2]) + 1)
    ]
    likeliest, made = 1 + int(np.argmax(rates)), [0] * (len(rows) + 1)
    for more in ([0, -1, 0, 1, len(rows), -1, 1, 2] * candidates)[:candidates]:
        count = min(max(likeliest + more, 1), len(rows))
        turn, made[count] = made[count], made[count] + 1
        first = turn if count == 1 and turn < len(rows) else 0
        yield sorted(order[first : first + count]), turn


def climb_for(
    problem: Problem, radiated: bool, sweeps: int, stage: int, m: np.ndarray, psi: Any, steps: int,
    noise: float = 1.0,
) -> tuple[np.ndarray, Any, list[float]]:  # fmt: skip
    """One stage for all users of a problem, the second from the best of three beams."""
    channels = [Channel(problem, f, radiated) for f in range(len(problem.channel))]
    for c in channels:
        c.noise = noise * problem.noise_power

    def served(m: np.ndarray, _: Any) -> Evaluation:
        def total(m: np.ndarray) -> float:
            return sum(c.zero_forcing_rate(m) for c in channels)

        return total(m), differences(total, m), [c.filled(m) for c in channels]

    def general(m: np.ndarray, psi: Any) -> Evaluation:
        psi = [c.swept(m, p, sweeps) for c, p in zip(channels, psi, strict=True)]
        beams = [c.spread(m, p) for c, p in zip(channels, psi, strict=True)]

        def total(m: np.ndarray) -> float:
            return sum(c.rate(m, v) for c, v in zip(channels, beams, strict=True))

        return total(m), differences(total, m), psi

    if stage == 0:
        return climbed(served, m, None, steps, 10.0 if radiated else 1.0, None)
    entry = []
    for c, given in zip(channels, psi or [None] * len(channels), strict=True):
        g = c.effective(m)
        gram = g @ np.linalg.solve(c.metric(m), g.conj().T)
        matched = np.diag(1.0 / np.sqrt(gram.diagonal().real))
        starts = [given, matched, c.filled(m) if len(gram) <= problem.phase.shape[2] else None]
        swept = [c.swept(m, p, 2) for p in starts if p is not None]
        entry.append(max(swept, key=lambda p, c=c: c.rate(m, c.spread(m, p))))

    def bend(m: np.ndarray, psi: Any) -> np.ndarray:
        return sum(c.bend(m, c.spread(m, p)) for c, p in zip(channels, psi, strict=True))

    return climbed(general, m, entry, steps, 10.0 if radiated else 1.0, bend if radiated else None)


def oracle_projection(
    problem: Problem, radiated: bool, first: int, second: int, candidates: int, sweeps: int
) -> Solved:
    heaviest = problem.weights.max()
    problem = problem._replace(weights=problem.weights / heaviest)
    users, feeds = problem.channel.shape[1], problem.phase.shape[2]
    prelude = second // 3
    golden = (math.sqrt(5.0) - 1.0) / 2.0 * np.arange(1, len(problem.amplitudes) + 1)
    tried = []
    for chosen, turn in sets(problem, radiated, candidates):
        start = (problem.amplitudes + turn * golden) % 1.0 if turn else problem.amplitudes
        part = problem._replace(channel=problem.channel[:, chosen], weights=problem.weights[chosen])
        m, psi, forced = spanning(part, start, 3 if radiated else 1), None, []
        outcome = (-math.inf, m, psi)
        if len(chosen) <= feeds:
            m, psi, forced = climb_for(part, radiated, sweeps, 0, m, None, first)
            outcome = (max(forced), m, psi)
        each = max(forced) / (len(chosen) * len(part.channel)) if forced else 0.0
        noise = 1.0 if radiated else 1.0 + 3.0 * each**2 / (1.0 + each**2)
        made = max(len(forced) - 1, 0)
        channels = [Channel(part, f, radiated) for f in range(len(part.channel))]
        trial = math.ceil(prelude / 3)
        for steps in (trial, prelude - trial):
            m, psi, louder = climb_for(part, radiated, sweeps, 1, m, psi, steps, noise)
            made += len(louder) - 1
            if not radiated:
                psi = [c.swept(m, p, sweeps) for c, p in zip(channels, psi, strict=True)]
        reached = sum(c.rate(m, c.spread(m, p)) for c, p in zip(channels, psi, strict=True))
        tried.append((reached, chosen, part, m, psi, forced, made, outcome))
    _, chosen, part, m, psi, forced, made, outcome = max(tried, key=lambda each: each[0])
    m, psi, rates = climb_for(part, radiated, sweeps, 1, m, psi, second - prelude)
    history = np.full(made + len(rates), math.nan)
    history[: len(forced)] = forced
    history[made:] = rates
    _, m, psi = max((outcome, (max(rates), m, psi)), key=lambda each: each[0])
    m = m / max(m.max(), 1.0)
    channels = [Channel(part, f, radiated) for f in range(len(part.channel))]
    beams = np.zeros((len(channels), feeds, users), complex)
    beams[:, :, chosen] = [
        c.at_power(m, c.spread(m, p)) for c, p in zip(channels, psi, strict=True)
    ]
    rate = sum(c.rate(m, v[:, chosen]) for c, v in zip(channels, beams, strict=True))
    converged = len(rates) <= second - prelude
    return Solved(m, beams, heaviest * rate, made + len(rates) - 1, converged, heaviest * history)


SMALL = [Shape(4, 2, 2), Shape(5, 3, 2), Shape(7, 3, 3, 2, 2), Shape(4, 2, 1, 2, 1)]


@conventions
@pytest.mark.parametrize("shape", [*SMALL, Shape(5, 2, 3)], ids=str)
def test_projection_follows_the_oracle(native: str, shape: Shape, radiated: bool) -> None:
    problem = draw(shape)
    expected = oracle_projection(problem, radiated, 2, 6, 4, 2)
    solved = project(problem, radiated, 2, 6, 4, 2)
    np.testing.assert_allclose(solved.history, expected.history, rtol=1e-5)
    np.testing.assert_allclose(solved.sum_rate, expected.sum_rate, rtol=1e-5)
    np.testing.assert_allclose(solved.amplitudes, expected.amplitudes, atol=1e-4)
    np.testing.assert_allclose(solved.digital, expected.digital, atol=1e-4)
    assert solved.iterations == expected.iterations
    assert solved.converged == expected.converged


@conventions
@few_users
def test_the_first_rate_is_water_filled_zero_forcing(
    native: str, shape: Shape, radiated: bool
) -> None:
    problem = draw(shape)
    solved = project(problem, radiated, 0, 0)
    channels = [Channel(problem, f, radiated) for f in range(shape.channels)]
    expected = sum(c.zero_forcing_rate(problem.amplitudes) for c in channels)
    assert solved.sum_rate == pytest.approx(expected, rel=1e-8)
    assert solved.history[0] == pytest.approx(solved.sum_rate, rel=1e-8)
    np.testing.assert_array_equal(solved.amplitudes, problem.amplitudes)
    beams = [
        c.at_power(problem.amplitudes, c.spread(problem.amplitudes, c.filled(problem.amplitudes)))
        for c in channels
    ]
    np.testing.assert_allclose(solved.digital, beams, rtol=1e-6, atol=1e-7)


def oracle_alternating(
    problem: Problem, radiated: bool, step: float, inner: int, tolerance: float, iterations: int
) -> Solved:
    """[B] Algorithm 1 with the gradient by differences, of a rate whose largest weight is one."""
    heaviest = problem.weights.max()
    problem = problem._replace(weights=problem.weights / heaviest)
    channels = [Channel(problem, f, radiated) for f in range(len(problem.channel))]
    m = problem.amplitudes

    def total(m: np.ndarray, beams: list[np.ndarray]) -> float:
        return sum(c.rate(m, v) for c, v in zip(channels, beams, strict=True))

    beams = [c.zero_forcing(m) for c in channels]
    history = np.full(iterations + 1, math.nan)
    rate = history[0] = total(m, beams)
    best, made, converged = (rate, m, beams), 0, False
    while made < iterations and not converged:
        served, done = rate, False
        steps = 0
        while made < iterations and not done:
            d = differences(lambda m, beams=beams: total(m, beams), m)
            m = np.clip(m + step * d, 0.0, 1.0)
            made, steps = made + 1, steps + 1
            previous, rate = rate, total(m, beams)
            done = abs(rate - previous) < tolerance if inner == 0 else steps == inner
        beams = [c.zero_forcing(m) for c in channels]
        rate = history[made] = total(m, beams)
        best = max(best, (rate, m, beams), key=lambda found: found[0])
        converged = abs(rate - served) < tolerance
    history *= heaviest
    return Solved(
        best[1], np.array(best[2]), heaviest * best[0], made, converged, history[: made + 1]
    )


@conventions
@pytest.mark.parametrize("shape", SMALL, ids=str)
@pytest.mark.parametrize(
    ("inner", "tolerance"), [(1, 1e-9), (3, 1e-9), (0, 0.05)], ids=["each", "third", "settled"]
)
def test_alternating_follows_the_oracle(
    native: str, shape: Shape, radiated: bool, inner: int, tolerance: float
) -> None:
    problem, options = draw(shape), (0.03, inner, tolerance, 7)
    expected = oracle_alternating(problem, radiated, *options)
    solved = alternate(problem, radiated, *options)
    np.testing.assert_allclose(solved.history, expected.history, rtol=1e-6)
    np.testing.assert_allclose(solved.amplitudes, expected.amplitudes, atol=1e-6)
    np.testing.assert_allclose(solved.digital, expected.digital, atol=1e-5)
    assert solved.sum_rate == pytest.approx(expected.sum_rate, rel=1e-6)
    assert solved.iterations == expected.iterations
    assert solved.converged == expected.converged


# -- what holds for every result ---------------------------------------------------------


def check(problem: Problem, solved: Solved, radiated: bool) -> None:
    """One item: in the box, at the power, rated as the loops of `naive` do, the best of its run."""
    assert ((solved.amplitudes >= 0.0) & (solved.amplitudes <= 1.0)).all()
    rates = []
    for f, digital in enumerate(solved.digital):
        phase = problem.phase[min(f, len(problem.phase) - 1)]
        surface = (solved.amplitudes, phase) if radiated else ()
        # the guard of a singular S counts as power too
        assert 1.0 - 1e-4 < naive.used_power(digital, *surface) / problem.power < 1.0 + 1e-9
        link = (problem.channel[f], solved.amplitudes, phase, digital)
        rates.append(naive.sum_rate(*link, float(problem.noise_power), problem.weights))
    assert solved.sum_rate == pytest.approx(sum(rates), rel=1e-8)
    assert solved.sum_rate == pytest.approx(np.nanmax(solved.history), rel=1e-9)


@conventions
@any_users
def test_projection_returns_what_it_claims(native: str, shape: Shape, radiated: bool) -> None:
    problem = draw(shape, (3,), seed=1)
    solved = project(problem, radiated, 10, 20)
    for i in range(3):
        check(item(problem, i), item(solved, i), radiated)


@conventions
@few_users
@pytest.mark.parametrize("inner", [0, 1])
def test_alternating_returns_what_it_claims(
    native: str, shape: Shape, radiated: bool, inner: int
) -> None:
    problem = draw(shape, (3,), seed=1)
    solved = alternate(problem, radiated, inner=inner, iterations=50)
    for i in range(3):
        check(item(problem, i), item(solved, i), radiated)


@conventions
def test_both_stages_climb(native: str, radiated: bool) -> None:
    """Each stage ends no lower than it starts, and the second on the whole above the first."""
    problem = draw(Shape(25, 4, 4), (20,))
    solved = project(problem, radiated, 10, 20, candidates=1, tolerance=0.0)
    forced = project(problem, radiated, 10, 0, candidates=1, tolerance=0.0)
    start = forced.history[:, 0]
    np.testing.assert_array_equal(solved.history[:, 0], start)
    assert (forced.sum_rate >= start).all()
    assert forced.sum_rate.mean() > start.mean() + 1.0
    second = np.array([rates[np.isfinite(rates)][-10:] for rates in solved.history])
    assert (second.max(1) >= second[:, 0]).all()
    assert solved.sum_rate.mean() > forced.sum_rate.mean() + 0.1
    np.testing.assert_allclose(solved.sum_rate, np.nanmax(solved.history, 1), rtol=1e-9)


@conventions
def test_candidates_pay_on_average(native: str, radiated: bool) -> None:
    """More candidates reach higher rates on sparse channels, which have many optima."""
    surface = hf.Surface(shape=(6, 6), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=4, size=100, seed=3)[:, None]
    problem = Problem(channel, np.ones(36), surface.phase[None], 1.0, 0.1, None)
    rates = [project(problem, radiated, 5, 15, count).sum_rate for count in (1, 2, 5)]
    assert rates[0].mean() < rates[1].mean() < rates[2].mean()
    assert (rates[1] == rates[0]).any()  # where the start itself was the best


@conventions
def test_one_candidate_where_there_is_nothing_to_choose_by(native: str, radiated: bool) -> None:
    """Without a first stage, or with two iterations, which are too few to compare after."""
    problem = draw(Shape(9, 3, 3), (4,))
    for first, second in ((0, 9), (5, 2), (5, 0)):
        runs = [project(problem, radiated, first, second, count) for count in (1, 4)]
        same_bits(*runs)


def test_history_counts_the_iterations(native: str) -> None:
    problem = draw(Shape(6, 3, 2), (20,))
    solved = project(problem, True, 30, 200, tolerance=1e-3)
    assert solved.converged.any()
    assert solved.history.shape[1] == solved.iterations.max() + 1
    for rates, made in zip(solved.history, solved.iterations, strict=True):
        recorded = np.isfinite(rates)
        assert recorded[0]
        assert recorded[made]
        assert not recorded[made + 1 :].any()
        prelude = np.flatnonzero(~recorded[:made])  # at another noise: not recorded
        assert len(prelude) <= 66
        assert (np.diff(prelude) == 1).all()
    unfinished = project(problem, True, 3, 6)
    served = np.any(unfinished.digital != 0.0, axis=(1, 2)).sum(-1)
    lit = (unfinished.amplitudes > 0.0).sum(-1)
    # of one user and no more lit elements than feeds the amplitudes change nothing: this has ended
    idle = (served == 1) & (lit <= 3)
    assert idle.sum() == 1
    np.testing.assert_array_equal(unfinished.converged, idle)
    np.testing.assert_array_equal(unfinished.iterations[~idle], 9)
    np.testing.assert_array_equal(
        np.isfinite(unfinished.history[~idle]), [[True] * 4 + [False] + [True] * 5] * 19
    )


@loops
def test_a_history_takes_no_more_room_than_the_iterations_made(quick: str, loop: str) -> None:
    """Whatever the budget; the first 4096 rates where there are more."""
    problem = draw(Shape(4, 2, 2), (3,))
    options = {"step": 0.0} if loop == "alternating" else {}
    budget = {"second": 10**8} if loop == "variable_projection" else {"iterations": 10**8}
    solved = RUN[loop](problem, False, tolerance=1e-2, **options, **budget)
    assert solved.converged.all()
    assert solved.history.shape[1] == solved.iterations.max() + 1
    assert solved.history.base is None


def test_a_history_ends_after_4096_rates(native: str) -> None:
    problem = draw(Shape(3, 1, 1), (2,))
    solved = alternate(problem, False, step=0.0, tolerance=0.0, iterations=5000)
    np.testing.assert_array_equal(solved.iterations, 5000)
    assert solved.history.shape == (2, 4096)
    assert np.isfinite(solved.history).all()


def test_nothing_to_gain_is_converged(native: str) -> None:
    problem = draw(Shape(6, 3, 2))
    for solved in (project(problem, True, tolerance=1e9), alternate(problem, True, tolerance=1e9)):
        assert solved.converged
        assert solved.iterations <= 1
    assert not project(problem, True, 0, 0, tolerance=1e9).converged


def test_alternating_stops_by_its_tolerance(native: str) -> None:
    problem = draw(Shape(9, 3, 3), (20,))
    problem = problem._replace(weights=problem.weights / problem.weights.max(-1, keepdims=True))
    solved = alternate(problem, False, tolerance=0.05, iterations=200)
    assert solved.converged.any()
    for i in np.flatnonzero(solved.converged):
        last = int(solved.iterations[i])
        history = solved.history[i]
        changes = np.abs(np.diff(history[: last + 1]))
        assert changes[-1] < 0.05
        assert (changes[:-1] >= 0.05).all()
        assert np.isnan(history[last + 1 :]).all()


def test_an_inner_loop_ends(quick: str) -> None:
    """After a hundred steps where its rate never settles."""
    solved = alternate(draw(Shape(9, 3, 3)), False, inner=0, tolerance=0.0, iterations=250)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(solved.history)), [0, 100, 200, 250])


@conventions
def test_without_iterations_alternating_is_zero_forcing(native: str, radiated: bool) -> None:
    problem = draw(Shape(9, 3, 3, 2, 2))
    solved = alternate(problem, radiated, iterations=0)
    np.testing.assert_array_equal(solved.amplitudes, problem.amplitudes)
    channels = [Channel(problem, f, radiated) for f in range(2)]
    expected = [c.zero_forcing(problem.amplitudes) for c in channels]
    np.testing.assert_allclose(solved.digital, expected, rtol=1e-8, atol=1e-10)
    assert not solved.converged
    assert solved.iterations == 0


def test_one_channel_twice_is_one_channel(native: str) -> None:
    """F equal channels: the same amplitudes, twice the rate."""
    once = draw(Shape(9, 3, 3))
    twice = once._replace(channel=np.concatenate([once.channel, once.channel]))
    for loop, scale in (("variable_projection", 1.0), ("alternating", 2.0)):
        options = {} if loop == "variable_projection" else {"step": 0.02 / scale}
        one, two = RUN[loop](once, True), RUN[loop](twice, True, **options)
        np.testing.assert_allclose(two.amplitudes, one.amplitudes, atol=1e-7)
        np.testing.assert_allclose(two.history, 2.0 * one.history, rtol=1e-7)
        np.testing.assert_array_equal(two.digital[0], two.digital[1])


# -- bad and degenerate items ------------------------------------------------------------


@conventions
@loops
def test_a_bad_item_is_marked(quick: str, loop: str, radiated: bool) -> None:
    problem = draw(Shape(9, 3, 3, 2, 1), (3,))
    channel = problem.channel.copy()
    channel[1, 0, 2, 4] = 1j * np.nan
    bad = item(RUN[loop](problem._replace(channel=channel), radiated), 1)
    for result in (bad.amplitudes, bad.digital, bad.sum_rate, bad.history):
        assert np.isnan(result).all()
    assert bad.iterations == 0
    assert not bad.converged


@conventions
@loops
@pytest.mark.parametrize("nothing", ["amplitudes", "channel", "phase"])
def test_no_link_gives_no_rate(quick: str, loop: str, radiated: bool, nothing: str) -> None:
    """All elements off, a zero channel or zero waves: rate 0, not NaN."""
    problem = draw(Shape(9, 3, 2))
    problem = problem._replace(**{nothing: 0.0 * getattr(problem, nothing)})
    solved = RUN[loop](problem, radiated)
    assert solved.sum_rate == 0.0
    assert solved.converged
    np.testing.assert_array_equal(solved.amplitudes, problem.amplitudes)
    np.testing.assert_array_equal(solved.digital, 0.0)


def degenerate(kind: str) -> Problem:
    problem = draw(Shape(9, 3, 3), (2,))
    channel, amplitudes, phase = (array.copy() for array in problem[:3])
    if kind == "equal users":
        channel[:, :, 2] = 1j * channel[:, :, 0]
    elif kind == "silent user":
        channel[:, :, 1] = 0.0
    elif kind == "equal feeds":
        phase[:, :, 1] = phase[:, :, 0]
    elif kind == "two elements on":
        amplitudes[:, 2:] = 0.0
    return problem._replace(channel=channel, amplitudes=amplitudes, phase=phase)


KINDS = ["equal users", "silent user", "equal feeds", "two elements on"]
kinds = pytest.mark.parametrize("kind", KINDS)


@conventions
@loops
@kinds
def test_a_singular_problem_is_solved(native: str, loop: str, kind: str, radiated: bool) -> None:
    problem = degenerate(kind)
    solved = RUN[loop](problem, radiated)
    for i in range(2):
        check(item(problem, i), item(solved, i), radiated)
    assert (solved.sum_rate > 0.5).all()


@conventions
@pytest.mark.parametrize("kind", ["equal users", "silent user"])
def test_backends_agree_on_a_singular_problem(native: str, kind: str, radiated: bool) -> None:
    problem = degenerate(kind)
    expected = interpreted("variable_projection", problem, radiated)
    np.testing.assert_allclose(project(problem, radiated).sum_rate, expected.sum_rate, rtol=1e-6)


def test_a_user_of_no_weight(native: str) -> None:
    problem = draw(Shape(9, 3, 3), (4,))
    problem.weights[:, 1] = 0.0
    solved = project(problem, True, 10, 20)
    for i in range(4):
        check(item(problem, i), item(solved, i), True)
    nobody = project(problem._replace(weights=np.zeros(3)), True)
    np.testing.assert_array_equal(nobody.sum_rate, 0.0)
    assert np.isfinite(nobody.digital).all()


# -- determinism -------------------------------------------------------------------------


@loops
def test_nothing_is_left_from_the_call_before(native: str, loop: str) -> None:
    problem = draw(Shape(17, 4, 3), (3,))
    expected = RUN[loop](problem, False)
    RUN[loop](draw(Shape(40, 9, 8), (3,)), True)
    same_bits(RUN[loop](problem, False), expected)


# -- coordinate descent ----------------------------------------------------------------------


@any_users
@conventions
def test_wmmse_descent_never_falls(shape: Shape, radiated: bool) -> None:
    """Both half steps of WMMSE-HBF raise the weighted rate (docs/mathematics.md)."""
    solved = descend(draw(shape, (3,)), radiated, iterations=40, tolerance=0.0)
    assert (np.diff(solved.history, axis=-1) >= -1e-9).all()
    if shape.elements > 1:
        assert (solved.history[:, -1] > solved.history[:, 0]).all()


@conventions
def test_descent_ends_at_a_coordinate_optimum(radiated: bool) -> None:
    """No single amplitude, moved to a grid of others with the beams kept, raises the rate."""
    problem = draw(Shape(9, 3, 2), seed=4)
    solved = descend(problem, radiated, iterations=10_000, tolerance=1e-13)
    channel, phase = problem.channel[0], problem.phase[0]

    def rate(amplitudes: np.ndarray) -> float:
        beams = solved.digital[0]
        sent = naive.used_power(beams, *((amplitudes, phase) if radiated else ()))
        noise = problem.noise_power * sent / problem.power
        return naive.sum_rate(channel, amplitudes, phase, beams, noise, problem.weights)

    reached = rate(solved.amplitudes)
    for n in range(9):
        for level in np.linspace(0.0, 1.0, 21):
            moved = solved.amplitudes.copy()
            moved[n] = level
            assert rate(moved) <= reached + 1e-5
