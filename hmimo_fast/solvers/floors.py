"""Beams and amplitudes under minimum rates, for the items that miss one without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .fully_digital import fully_digital
from .hbf import wmmse_hbf
from .problem import Found, Problem, best_beams
from .variable_projection import joint, zero_forcing_stage, zf

#: A rate that nobody has: what misses it has balanced rates, the highest they can be.
UNREACHABLE = 100.0


def balanced(problem: Problem, start: np.ndarray, **options: Any) -> Found:
    """The highest lowest rate over users and channels, by `joint` alone."""
    asked = np.full((*problem.batch, problem.users), UNREACHABLE)
    return joint(replace(problem, min_rate=asked, weights=None), start, **options)


def under_floors(
    run: Callable[..., Found],
    problem: Problem,
    start: np.ndarray,
    found: Found,
    options: dict[str, Any],
) -> Iterator[Found]:
    """What ``run`` may find under the problem's minimum rates, the first the most likely.

    `joint` and `zf` solve anew, from the start and from the amplitudes they found without; other
    methods keep those, and change their beams: general ones or zero forcing, as theirs are.
    """
    if run is joint:
        yield joint(problem, start, **options)
        yield joint(problem, found.amplitudes, **options)
        if problem.users <= problem.feeds:
            yield zero_forcing_stage(problem, start, **options)
    elif run is zf:
        yield zf(problem, start, **options)
        yield zf(problem, found.amplitudes, **options)
    else:
        if run is fully_digital:  # a surface whose feeds are its elements
            feeds = np.eye(problem.channel.shape[-1], dtype=complex)[None]
            problem = replace(problem, phase=feeds, radiated=False)
        general = run in (wmmse_hbf, fully_digital)
        yield replace(found, digital=best_beams(problem, found.amplitudes, general=general)[0])
