"""A caller's np.errstate(all="raise") does not make a solve raise."""

from __future__ import annotations

import numpy as np
import pytest

import hmimo_fast as hf

METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]


@pytest.mark.parametrize("scale", [1.0, 1e-20])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("method", METHODS)
def test_solve_raises_no_floating_point_error(method: str, dtype: type, scale: float) -> None:
    surface = hf.Surface((4, 4), feeds=3)
    channel = (scale * hf.channels.sparse_mmwave(surface, 3, 6, 0)).astype(dtype)
    for options in ({}, {"levels": 2}, {"min_rate": 0.5}):
        if method == "fully_digital" and "levels" in options:
            continue
        expected = hf.solve(channel, surface.phase, 1.0, 0.1, method, **options)
        with np.errstate(all="raise"):
            found = hf.solve(channel, surface.phase, 1.0, 0.1, method, **options)
            assert np.geterr()["under"] == "raise"
        np.testing.assert_array_equal(found.rates, expected.rates)


@pytest.mark.parametrize("scale", [1.0, 1e-20])
@pytest.mark.parametrize("search", ["greedy", "local", "exhaustive"])
def test_schedule_raises_no_floating_point_error(search: str, scale: float) -> None:
    surface = hf.Surface((4, 4), feeds=3)
    channel = (scale * hf.channels.sparse_mmwave(surface, 4, 3, 0)).astype(np.complex64)
    expected = hf.schedule(channel, surface.phase, 1.0, 0.1, 1.0, search=search)
    with np.errstate(all="raise"):
        found = hf.schedule(channel, surface.phase, 1.0, 0.1, 1.0, search=search)
    np.testing.assert_array_equal(found.rates, expected.rates)
