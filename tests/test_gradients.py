"""The closed-form gradient of the sum rate against differences and automatic differentiation."""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest

from hmimo_fast import kernels

SHAPES = [  # elements, feeds, users
    (1, 1, 1),
    (1, 3, 2),
    (7, 2, 1),
    (9, 4, 4),
    (16, 6, 3),
    (16, 3, 6),
    (36, 6, 6),
    (64, 6, 6),
    (64, 8, 5),
    (64, 2, 8),
]
shapes = pytest.mark.parametrize(("elements", "feeds", "users"), SHAPES)


def draw(elements: int, feeds: int, users: int, batch: tuple[int, ...] = ()) -> list[Any]:
    """Arguments of ``sum_rate``, with random weights."""
    rng = np.random.default_rng([elements, feeds, users])

    def gaussian(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    return [
        gaussian(*batch, users, elements) / math.sqrt(elements),
        rng.uniform(0.0, 1.0, (*batch, elements)),
        np.exp(2j * np.pi * rng.uniform(size=(elements, feeds))),
        gaussian(*batch, feeds, users) / math.sqrt(feeds * users),
        rng.uniform(0.1, 1.0, batch) if batch else 0.3,
        rng.uniform(0.1, 3.0, (*batch, users)),
    ]


def single(problem: list[Any]) -> list[Any]:
    channel, amplitudes, phase, digital, noise_power, weights = problem
    return [
        channel.astype(np.complex64),
        amplitudes.astype(np.float32),
        phase.astype(np.complex64),
        digital.astype(np.complex64),
        noise_power,
        weights,
    ]


def assert_near(actual: Any, expected: Any, tolerance: float) -> None:
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    assert np.max(np.abs(actual - expected)) <= tolerance * np.max(np.abs(expected))


@pytest.mark.parametrize(
    ("elements", "feeds", "users"), [s for s in SHAPES if s[0] * s[1] * s[2] <= 200]
)
def test_every_coordinate_by_differences(
    backend: str, elements: int, feeds: int, users: int
) -> None:
    problem = draw(elements, feeds, users)
    d_amplitudes, d_digital = naive.sum_rate_gradient(*problem)
    _, closed_amplitudes, closed_digital = kernels.sum_rate_gradient(*problem)
    assert_near(closed_amplitudes, d_amplitudes, 1e-9)
    assert_near(closed_digital, d_digital, 1e-9)


def automatic(problem: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rate and gradients of a batch by torch, in double precision."""
    torch = pytest.importorskip("torch")
    channel, amplitudes, phase, digital, noise_power, weights = (
        torch.as_tensor(np.asarray(x)) for x in problem
    )
    amplitudes.requires_grad_()
    digital.requires_grad_()
    received = (channel * amplitudes[..., None, :]) @ phase @ digital
    gains = received.abs() ** 2
    signal = torch.diagonal(gains, dim1=-2, dim2=-1)
    others = gains * (1 - torch.eye(gains.shape[-1], dtype=gains.dtype))
    ratios = signal / (others.sum(-1) + noise_power[..., None])
    rate = (weights * torch.log1p(ratios) / math.log(2)).sum(-1)
    rate.sum().backward()
    return rate.detach().numpy(), amplitudes.grad.numpy(), digital.grad.numpy()


@shapes
def test_automatic_differentiation(backend: str, elements: int, feeds: int, users: int) -> None:
    problem = draw(elements, feeds, users, (3,))
    expected = automatic(problem)
    for result, reference in zip(kernels.sum_rate_gradient(*problem), expected, strict=True):
        assert result.dtype == reference.dtype
        assert_near(result, reference, 1e-10)
    for result, reference in zip(
        kernels.sum_rate_gradient(*single(problem)), expected, strict=True
    ):
        assert result.dtype in (np.float32, np.complex64)
        assert_near(result, reference, 1e-4)


def test_the_gradient_is_linear_in_the_weights(backend: str) -> None:
    *problem, weights = draw(16, 4, 3)
    parts = [kernels.sum_rate_gradient(*problem, w) for w in np.diag(weights)]
    for result, pieces in zip(
        kernels.sum_rate_gradient(*problem, weights), zip(*parts, strict=True), strict=True
    ):
        assert_near(sum(pieces), result, 1e-12)
