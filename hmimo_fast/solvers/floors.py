"""Under minimum rates: what each method tries for the items that miss one without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..problem import Problem
from .found import Found, Run
from .variable_projection import joint, zero_forcing_stage, zf

#: A minimum rate out of reach: items that miss it get balanced rates, the highest possible.
UNREACHABLE = 100.0


def balancing(problem: Problem) -> Problem:
    """The problem of the highest lowest rate over users and channels."""
    asked = np.full((1, problem.users), UNREACHABLE)
    return replace(problem, min_rate=asked, weights=np.ones((1, problem.users)))


def joint_again(
    problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
) -> Iterator[Run]:
    """`joint` from the start, from the amplitudes found without, and as zero forcing alone."""
    yield joint(problem, start, **options)
    yield joint(problem, found.amplitudes, **options)
    if problem.users <= problem.feeds:
        yield zero_forcing_stage(problem, start, **options)


def zf_again(
    problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
) -> Iterator[Run]:
    """`zf` from the start, and from the amplitudes found without."""
    yield zf(problem, start, **options)
    yield zf(problem, found.amplitudes, **options)


def general_beams(
    problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
) -> Iterator[Run]:
    """Other beams at the amplitudes found without."""
    yield _with_beams(problem, found)


def zero_forced_beams(
    problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
) -> Iterator[Run]:
    """The same, by zero forcing."""
    yield _with_beams(problem, found, general=False)


def fully_digital_beams(
    problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
) -> Iterator[Run]:
    """Other beams of a surface whose feeds are its elements."""
    feeds = np.eye(problem.elements, dtype=complex)[None]
    bare = replace(problem, phase=feeds, radiated=False)
    yield _with_beams(bare, found)._replace(fully_digital=True)


def _with_beams(problem: Problem, found: Found, **options: Any) -> Run:
    digital, _ = problem.run("best_beams", found.amplitudes, **options)
    return Run(found.amplitudes, digital, found.iterations, found.converged, found.history)
