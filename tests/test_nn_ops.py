"""The operators of `hmimo_fast.nn`: values, gradients by differences, transforms, hard cases."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest

import hmimo_fast as hf

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from hmimo_fast.kernels import edge  # noqa: E402
from hmimo_fast.nn import definitions, ops  # noqa: E402
from hmimo_fast.nn.library import OPERATIONS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")

BATCH, USERS, FEEDS, ELEMENTS = 3, 2, 3, 4
Case = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def gaussian(rng: np.random.Generator, *shape: int, dtype: Any = torch.complex128) -> Tensor:
    return torch.from_numpy(rng.standard_normal((*shape, 2)).view(complex)[..., 0]).to(dtype)


def uniform(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(0.2, 0.9, shape))


def hermitian(root: Tensor) -> Tensor:
    return root.conj().transpose(-1, -2) @ root


def joined(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """A precoder and the number that comes with it in one tensor."""

    def both(*arguments: Tensor) -> Tensor:
        precoder, value, *_ = function(*arguments)
        return torch.cat((precoder.flatten(-2), value[..., None].to(precoder.dtype)), -1)

    return both


def cases(
    users: int = USERS,
    feeds: int = FEEDS,
    elements: int = ELEMENTS,
    batch: tuple[int, ...] = (BATCH,),
) -> dict[str, Case]:
    """Every operator in every form, with its differentiable arguments; phase and weights shared."""
    rng = np.random.default_rng([users, feeds, elements, len(batch)])
    channel, phase = gaussian(rng, *batch, users, elements), gaussian(rng, elements, feeds)
    digital, precoder = gaussian(rng, *batch, feeds, users), gaussian(rng, *batch, elements, users)
    amplitudes, noise_power = uniform(rng, *batch, elements), uniform(rng, *batch)
    weights, power = uniform(rng, users), uniform(rng)
    effective, root = gaussian(rng, *batch, users, feeds), gaussian(rng, feeds + 1, feeds)
    link = (channel, amplitudes, phase, digital, noise_power)
    table: dict[str, Case] = {
        "effective_channel": (ops.effective_channel, (channel, amplitudes, phase)),
        "sum_rate": (ops.sum_rate, link),
        "sum_rate weighted": (ops.sum_rate, (*link, weights)),
        "wmmse_sweep": (ops.wmmse_sweep, (effective, digital, power, noise_power)),
        "wmmse_sweep weighted gram": (
            lambda g, v, p, s, w, r: ops.wmmse_sweep(g, v, p, s, w, hermitian(r)),
            (effective, digital, power, noise_power, weights, root),
        ),
    }
    table["max_min"] = (joined(ops.max_min), (effective, power, noise_power))
    table["max_min weighted"] = (joined(ops.max_min), (effective, power, noise_power, weights))
    table["min_power"] = (joined(ops.min_power), (effective, noise_power, weights))
    if users <= feeds:
        table["zero_forcing"] = (ops.zero_forcing, (effective, power))
    for constraint in ("radiated", "digital"):
        table[f"project {constraint}"] = (
            lambda *a, c=constraint: ops.project(*a, constraint=c),
            (amplitudes, phase, precoder, power),
        )
    table["scale radiated"] = (ops.scale, (amplitudes, phase, digital, power))
    table["scale digital"] = (
        lambda v, p: ops.scale(amplitudes, phase, v, p, constraint="digital"),
        (digital, power),
    )
    return table


NAMES = list(cases())
KERNELS = [name for name in NAMES if not name.startswith(("wmmse", "scale"))]
PLAIN = [name for name in NAMES if name not in KERNELS]
each = pytest.mark.parametrize("name", NAMES)


def tracked(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(a.clone().requires_grad_() for a in arguments)


def readout(result: Tensor) -> Tensor:
    """A real number in which every entry of a result counts, phases too."""
    steps = torch.arange(1.0, result.numel() + 1.0, dtype=torch.float64).reshape(result.shape)
    return (torch.sin(steps) * result.real + torch.cos(steps) * (result * -1j).real).sum()


def near(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    actual, expected = 1.0 * np.asarray(actual), 1.0 * np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected), initial=0.0) <= tolerance * np.max(
        np.abs(expected), initial=1e-300
    )


# ------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
@pytest.mark.parametrize(("users", "feeds"), [(2, 4), (1, 3), (3, 3)])
def test_values_are_those_of_the_package(backend: str, users: int, feeds: int, dtype: Any) -> None:
    rng = np.random.default_rng([users, feeds])
    h, phi, v, w, g = (
        gaussian(rng, *shape, dtype=dtype)
        for shape in (
            (5, users, 8),
            (8, feeds),
            (5, feeds, users),
            (5, 8, users),
            (5, users, feeds),
        )
    )
    m = uniform(rng, 5, 8).to(h.real.dtype)
    alpha = uniform(rng, users)
    pairs = [
        (ops.effective_channel(h, m, phi), hf.effective_channel(h, m, phi)),
        (ops.sum_rate(h, m, phi, v, 0.3, alpha), hf.sum_rate(h, m, phi, v, 0.3, alpha)),
        *zip(
            ops.sum_rate_gradient(h, m, phi, v, 0.3),
            hf.sum_rate_gradient(h, m, phi, v, 0.3),
            strict=True,
        ),
        (ops.zero_forcing(g, 2.0), hf.zero_forcing(g, 2.0)),
        (ops.project(m, phi, w, 2.0), hf.project(m, phi, w, 2.0)),
        (ops.project(m, phi, w, 2.0, "digital"), hf.project(m, phi, w, 2.0, "digital")),
        *zip(ops.max_min(g, 2.0, 0.3, alpha), hf.max_min(g, 2.0, 0.3, alpha), strict=True),
        *zip(ops.min_power(g, 0.3, alpha), hf.min_power(g, 0.3, alpha), strict=True),
    ]
    for ours, theirs in pairs:
        assert ours.dtype == torch.from_numpy(np.asarray(theirs)).dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_sweeps_and_slope_are_those_of_the_kernels(dtype: Any) -> None:
    _, (*link, noise_power, weights) = cases()["sum_rate weighted"]
    link = [lower(value) if dtype == torch.complex64 else value for value in link]
    options = {"radiated": False, "sweeps": 3}
    expected = edge.call("wmmse_gradient", (*link, 2.0, noise_power, weights), options)
    actual = ops.wmmse_gradient(*link, 2.0, noise_power, weights, "digital", sweeps=3)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == torch.from_numpy(theirs).dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("users", [1, 3, 6])
def test_sweeps_from_matched_beams_are_wmmse(users: int) -> None:
    """K > L too: the kernel's iterations from its own start, one call per sweep."""
    rng = np.random.default_rng(users)
    channel, weights = gaussian(rng, 4, users, 4), uniform(rng, users)
    beams = channel.mH / torch.linalg.norm(channel.mH, dim=-2, keepdim=True)
    for sweeps in range(1, 5):
        beams = ops.wmmse_sweep(channel, beams, 2.0, 0.1, weights)
        near(beams, hf.wmmse(channel, 2.0, 0.1, weights, iterations=sweeps), 1e-11)


def test_sweeps_in_the_norm_of_the_surface_raise_the_rate() -> None:
    rng = np.random.default_rng(5)
    channel, phase = gaussian(rng, 3, 2, 6), gaussian(rng, 6, 4)
    amplitudes, beams = uniform(rng, 3, 6), gaussian(rng, 3, 4, 2)
    surface = amplitudes[..., None] * phase
    gram = surface.mH @ surface
    effective = ops.effective_channel(channel, amplitudes, phase)
    beams = ops.scale(amplitudes, phase, beams, 2.0)
    rates = [ops.sum_rate(channel, amplitudes, phase, beams, 0.1)]
    for _ in range(20):
        beams = ops.wmmse_sweep(effective, beams, 2.0, 0.1, gram=gram)
        near(torch.linalg.matrix_norm(surface @ beams) ** 2, np.full(3, 2.0), 1e-10)
        rates.append(ops.sum_rate(channel, amplitudes, phase, beams, 0.1))
    rise = torch.diff(torch.stack(rates), dim=0)
    assert (rise >= -1e-10).all()
    assert (rise[0] > 0.1).all()


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_scale_by_the_oracle(constraint: str) -> None:
    rng = np.random.default_rng(1)
    phase, amplitudes, digital = gaussian(rng, 6, 3), uniform(rng, 6), gaussian(rng, 3, 2)
    result = ops.scale(amplitudes, phase, digital, 2.5, constraint)
    surface = (amplitudes, phase) if constraint == "radiated" else ()
    assert naive.used_power(result, *surface) == pytest.approx(2.5, rel=1e-12)
    ratio = result / digital
    near(ratio, np.full(ratio.shape, ratio[0, 0].real))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shape", [(2, 4), (1, 1), (3, 3), (4, 2)])
def test_definitions_for_cuda_agree_with_the_kernels(name: str, shape: tuple[int, int]) -> None:
    users, feeds = shape
    if name == "zero_forcing" and users > feeds:
        pytest.skip("no zero forcing of more users than feeds")
    _, arguments = cases(users, feeds)[name]
    operator, *form = name.split()
    extra: tuple[Any, ...] = ()
    if operator == "project":
        extra = (form == ["radiated"],)
    elif operator in ("sum_rate", "max_min") and not form:
        extra = (None,)
    for single in (False, True):
        converted = [lower(a) if single else a for a in arguments]
        operators = ["sum_rate", "sum_rate_gradient"] if operator == "sum_rate" else [operator]
        for kernel in operators:
            expected = OPERATIONS[kernel](*converted, *extra)
            actual = getattr(definitions, kernel)(*converted, *extra)
            if isinstance(expected, Tensor):
                expected, actual = (expected,), (actual,)
            for left, right in zip(actual, expected, strict=True):
                assert left.dtype == right.dtype
                near(left, right, 2e-5 if single else 1e-10)


@pytest.mark.parametrize(("users", "feeds"), [(2, 4), (1, 1), (4, 2)])
@pytest.mark.parametrize("radiated", [False, True])
@pytest.mark.parametrize("single", [False, True])
def test_definitions_of_sweeps_agree_with_the_kernels(
    users: int, feeds: int, radiated: bool, single: bool
) -> None:
    _, (*link, weights) = cases(users, feeds)["sum_rate weighted"]
    link = [lower(value) if single else value for value in link]
    power = torch.tensor(2.0, dtype=torch.float64)
    channel, amplitudes, phase, digital, noise_power = link
    given = channel, amplitudes, phase, digital, power, noise_power, weights, radiated, 3
    for name, arguments in (("sinr", link), ("wmmse_gradient", given)):
        expected = OPERATIONS[name](*arguments)
        actual = getattr(definitions, name)(*arguments)
        if name == "sinr":
            expected, actual = (expected,), (actual,)
        for left, right in zip(actual, expected, strict=True):
            assert left.dtype == right.dtype
            tolerance = 1e-4 if single else 1e-9
            np.testing.assert_allclose(
                left, right, rtol=0.0, atol=tolerance * (1 + abs(right).max())
            )


def lower(value: Tensor) -> Tensor:
    return value.to(torch.complex64 if value.is_complex() else torch.float32)


# ---------------------------------------------------------------------------------- gradients


@each
@pytest.mark.parametrize(("users", "feeds", "batch"), [(2, 3, (2,)), (1, 1, ()), (3, 2, ())])
def test_gradcheck(name: str, users: int, feeds: int, batch: tuple[int, ...]) -> None:
    """Over every argument at once, complex ones in both directions."""
    table = cases(users, feeds, ELEMENTS, batch)
    if name not in table:
        pytest.skip("no zero forcing of more users than feeds")
    function, arguments = table[name]
    assert torch.autograd.gradcheck(function, tracked(arguments))


@each
def test_second_derivatives_are_right_or_refused(name: str) -> None:
    function, arguments = cases(batch=())[name]
    arguments = tracked(arguments)
    if not name.startswith("sum_rate"):
        assert torch.autograd.gradgradcheck(function, arguments, fast_mode=True)
        return
    slopes = torch.autograd.grad(function(*arguments), arguments, create_graph=True)
    with pytest.raises(NotImplementedError, match="sum_rate: second derivatives"):
        torch.autograd.grad(slopes[1].sum(), arguments)


@pytest.mark.slow  # torch's compiler takes seconds
def test_second_derivatives_of_the_compiled_rate_are_refused() -> None:
    function, arguments = cases(batch=())["sum_rate"]
    inputs = tracked(arguments)
    torch.compiler.reset()
    rate = torch.compile(function, fullgraph=True, backend="aot_eager")(*inputs)
    slope = torch.autograd.grad(rate, inputs[1], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(slope.sum(), inputs[1])


@pytest.mark.parametrize("name", KERNELS)
def test_forward_mode_is_refused(name: str) -> None:
    function, arguments = cases()[name]
    tangents = tuple(torch.ones_like(a) for a in arguments)
    with pytest.raises((NotImplementedError, RuntimeError), match="jvp"):
        torch.func.jvp(function, arguments, tangents)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(arguments[0], tangents[0])
        with pytest.raises((NotImplementedError, RuntimeError), match="jvp"):
            function(dual, *arguments[1:])


@pytest.mark.parametrize("name", PLAIN)
def test_forward_mode_is_right(name: str) -> None:
    function, arguments = cases()[name]
    rng = np.random.default_rng(3)
    tangents = tuple(
        gaussian(rng, *a.shape) if a.is_complex() else uniform(rng, *a.shape) for a in arguments
    )
    slope = readout(torch.func.jvp(function, arguments, tangents)[1])
    inputs = tracked(arguments)
    gradients = torch.autograd.grad(readout(function(*inputs)), inputs)
    expected = sum((g.conj() * t).real.sum() for g, t in zip(gradients, tangents, strict=True))
    near(slope, expected, 1e-10)


@pytest.mark.parametrize("wanted", range(6))
def test_one_gradient_of_the_rate_alone(wanted: int) -> None:
    """Whichever argument asks, its gradient is the same as when all do."""
    function, arguments = cases()["sum_rate weighted"]
    inputs = tracked(arguments)
    expected = torch.autograd.grad(readout(function(*inputs)), inputs)[wanted]
    alone = list(arguments)
    alone[wanted] = alone[wanted].clone().requires_grad_()
    near(torch.autograd.grad(readout(function(*alone)), alone[wanted])[0], expected)


def test_gradients_of_what_is_broadcast_are_summed() -> None:
    rng = np.random.default_rng(8)
    link = (
        gaussian(rng, 2, 1, 2, 5),
        uniform(rng, 3, 5),
        gaussian(rng, 5, 3),
        gaussian(rng, 3, 2),
        uniform(rng, 2, 1),
        uniform(rng, 1, 3, 2),
    )
    assert ops.sum_rate(*link).shape == (2, 3)
    assert torch.autograd.gradcheck(ops.sum_rate, tracked(link))


def test_gradients_have_the_dtype_of_their_arguments() -> None:
    """A phase and powers in double with a channel in single precision."""
    _, arguments = cases()["sum_rate weighted"]
    channel, amplitudes, phase, digital, noise_power, weights = arguments
    inputs = tracked(
        (lower(channel), lower(amplitudes), phase, lower(digital), noise_power, lower(weights))
    )
    rate = ops.sum_rate(*inputs)
    assert rate.dtype == torch.float32
    rate.sum().backward()
    exact = tracked(arguments)
    ops.sum_rate(*exact).sum().backward()
    for value, right in zip(inputs, exact, strict=True):
        assert value.grad.dtype == value.dtype
        near(value.grad, right.grad, 1e-4)


def test_the_detached_gradient_is_that_of_autograd() -> None:
    _, arguments = cases()["sum_rate weighted"]
    inputs = tracked(arguments)
    rate, d_amplitudes, d_digital = ops.sum_rate_gradient(*inputs)
    assert not any(x.requires_grad for x in (rate, d_amplitudes, d_digital))
    *link, noise_power, weights = inputs
    for value in ops.wmmse_gradient(*link, 1.0, noise_power, weights):
        assert not value.requires_grad
    expected = torch.autograd.grad(ops.sum_rate(*inputs).sum(), (inputs[1], inputs[3]))
    near(d_amplitudes, expected[0])
    near(d_digital, expected[1])


# --------------------------------------------------------------------------------- transforms


@pytest.mark.parametrize(
    "name",
    [
        "effective_channel",
        "sinr",
        "sum_rate",
        "sum_rate_gradient",
        "wmmse_gradient",
        "zero_forcing",
        "project",
        "max_min",
        "min_power",
    ],
)
def test_opcheck(name: str) -> None:
    table = cases()
    key = {
        "sinr": "sum_rate",
        "sum_rate_gradient": "sum_rate weighted",
        "wmmse_gradient": "sum_rate weighted",
        "project": "project digital",
    }.get(name, name)
    arguments: tuple[Any, ...] = table[key][1]
    if name in ("sum_rate", "max_min"):
        arguments = (*arguments, None)
    if name == "project":
        arguments = (*arguments, True)
    if name == "wmmse_gradient":
        power = torch.tensor(2.0, dtype=torch.float64)
        arguments = (*arguments[:4], power, *arguments[4:], True, 2)
    torch.library.opcheck(OPERATIONS[name], arguments)


@each
def test_functional_gradient(name: str) -> None:
    function, arguments = cases()[name]
    inputs = tracked(arguments)
    expected = torch.autograd.grad(readout(function(*inputs)), inputs)
    every = tuple(range(len(arguments)))
    actual = torch.func.grad(lambda *a: readout(function(*a)), argnums=every)(*arguments)
    for left, right in zip(actual, expected, strict=True):
        near(left, right)


@each
def test_vmap_of_values_and_gradients(name: str) -> None:
    """Two dimensions of batch, the outer as the last of every argument that has it."""
    function, single = cases(batch=())[name]
    _, items = cases(batch=(3, 2))[name]
    dims = tuple(None if a.shape == b.shape else -1 for a, b in zip(single, items, strict=True))
    moved = tuple(
        a if dim is None else a.movedim(0, -1) for a, dim in zip(items, dims, strict=True)
    )
    near(torch.func.vmap(function, dims)(*moved), function(*items))
    slopes = torch.func.grad(lambda *a: readout(function(*a)), argnums=tuple(range(len(items))))
    actual = torch.func.vmap(slopes, dims)(*moved)
    for i in range(3):
        row = tuple(a if dim is None else a[i] for a, dim in zip(items, dims, strict=True))
        for left, right in zip(actual, slopes(*row), strict=True):
            near(left[i], right, 1e-11)


def test_vmap_where_arguments_have_batches_of_their_own() -> None:
    """The dimension of vmap stands before all others, also of what has no batch besides."""
    function, single = cases(batch=())["sum_rate"]
    channel = torch.stack([single[0] * (1 + i) for i in range(6)]).reshape(2, 3, *single[0].shape)
    noise_power = torch.tensor([0.1, 0.3], dtype=single[-1].dtype)
    dims, moved = (0, None, None, None, 0), (channel, *single[1:-1], noise_power)
    found = torch.func.vmap(function, dims)(*moved)
    for i in range(2):
        row = [value if dim is None else value[i] for value, dim in zip(moved, dims, strict=True)]
        near(found[i], function(*row))


@pytest.mark.slow
@each
def test_compiled_without_a_graph_break(name: str) -> None:
    """On the backend that traces forward and backward but generates no code."""
    function, arguments = cases()[name]
    inputs = tracked(arguments)
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    result, expected = compiled(*inputs), function(*inputs)
    near(result.detach(), expected.detach())
    actual = torch.autograd.grad(readout(result), inputs)
    for left, right in zip(actual, torch.autograd.grad(readout(expected), inputs), strict=True):
        near(left, right)
    near(compiled(*arguments), expected.detach())
    with torch.no_grad():
        near(compiled(*inputs), expected.detach())


# --------------------------------------------------------------------------------- hard cases


@each
def test_views_of_any_kind(name: str) -> None:
    """Conjugated, negated and permuted views of the same values."""
    function, arguments = cases()[name]
    inputs = tracked(arguments)
    expected = torch.autograd.grad(readout(function(*inputs)), inputs)
    plain = function(*inputs).detach()
    for view in (conjugated, negated, permuted):
        inputs = tracked(arguments)
        result = function(*map(view, inputs))
        near(result.detach(), plain, 1e-11)
        for left, right in zip(torch.autograd.grad(readout(result), inputs), expected, strict=True):
            near(left, right, 1e-10)


def conjugated(value: Tensor) -> Tensor:
    view = value.conj_physical().conj() if value.is_complex() else value
    assert view.is_conj() == value.is_complex()
    return view


def negated(value: Tensor) -> Tensor:
    """A real value as the imaginary part of a conjugate, a view with its sign bit set."""
    if value.is_complex():
        return value
    view = torch.complex(torch.zeros_like(value), -value).conj().imag
    assert view.is_neg()
    return view


def permuted(value: Tensor) -> Tensor:
    return value.mT.contiguous().mT if value.dim() > 1 else torch.stack((value, value), -1)[..., 0]


@each
def test_empty_batch(name: str) -> None:
    function, arguments = cases(batch=(0,))[name]
    inputs = tracked(arguments)
    result = function(*inputs)
    assert result.shape[0] == 0
    readout(result).backward()
    for value in inputs:
        assert value.grad.shape == value.shape
        assert (value.grad == 0.0).all()


@each
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_item_spoils_no_other(name: str, bad: float) -> None:
    function, arguments = cases()[name]
    which = next(i for i, a in enumerate(arguments) if a.is_complex() and a.dim() == 3)
    inputs = tracked(arguments)
    clean = function(*inputs)
    expected = torch.autograd.grad(readout(clean), inputs)
    spoilt = list(arguments)
    spoilt[which] = spoilt[which].clone()
    spoilt[which][1, 0, 0] = bad
    inputs = tracked(tuple(spoilt))
    result = function(*inputs)
    others = [0, 2]
    near(result[others].detach(), clean[others].detach())
    assert not result[1].isfinite().all()
    gradients = torch.autograd.grad(readout(result), inputs)
    for left, right in zip(gradients, expected, strict=True):
        if left.dim() and left.shape[0] == BATCH:
            near(left[others], right[others], 1e-10)


def test_rank_deficient_and_zero_channels() -> None:
    rng = np.random.default_rng(2)
    channel = gaussian(rng, 3, 2, 4)
    channel[1, 1] = 2j * channel[1, 0]
    channel[2] = 0.0
    channel.requires_grad_()
    precoder = ops.zero_forcing(channel, 2.0)
    near(precoder.detach(), hf.zero_forcing(channel, 2.0))
    readout(precoder).backward()
    assert channel.grad.isfinite().all()
    assert (channel.grad[2] == 0.0).all()
    direction = gaussian(rng, 1, 4)  # keeps the rank of the second item: both rows move alike
    move = torch.cat((direction, 2j * direction))

    def along(step: float) -> Tensor:
        return readout(ops.zero_forcing(channel[1].detach() + step * move, 2.0))

    items = channel[1].detach().clone().requires_grad_()
    slope = torch.autograd.grad(readout(ops.zero_forcing(items, 2.0)), items)[0]
    near((slope.conj() * move).real.sum(), (along(1e-6) - along(-1e-6)) / 2e-6, 1e-6)


def unrolled(channel: Tensor, noise: float, min_rate: Tensor, steps: int = 400) -> Tensor:
    """Beams of least power by Yates' fixed point in the uplink, every step kept for autograd."""
    users, feeds = channel.shape
    target = torch.expm1(math.log(2.0) * min_rate)
    uplink = torch.ones(users, dtype=torch.float64)
    for _ in range(steps):
        covariance = torch.eye(feeds) + channel.mH @ (uplink[:, None] * channel)
        gain = (channel @ torch.linalg.solve(covariance, channel.mH)).diagonal().real
        uplink = target / (1.0 + target) / gain
    beams = torch.linalg.solve(covariance, channel.mH)
    beams = beams / torch.linalg.norm(beams, dim=0)
    gains = (channel @ beams).abs() ** 2
    own = torch.diag(gains.diagonal())
    powers = torch.linalg.solve(own - target[:, None] * (gains - own), noise * target)
    return beams * torch.sqrt(powers)


@pytest.mark.parametrize(
    ("users", "feeds", "noise", "highest"),
    [(3, 4, 1.0, 2.0), (4, 4, 1e-6, 5.0), (5, 3, 0.1, 0.8), (2, 1, 1.0, 0.7)],
)
def test_gradients_of_balanced_rates_are_those_of_an_unrolled_solver(
    users: int, feeds: int, noise: float, highest: float
) -> None:
    """Of beams and power at given rates; of beams and rate, those of the rates turned around."""
    rng = np.random.default_rng([users, feeds])
    channel = gaussian(rng, users, feeds)
    asked = highest * uniform(rng, users)
    inputs, others = tracked((channel, asked)), tracked((channel, asked))
    plain = unrolled(others[0], noise, others[1])
    spent = torch.linalg.norm(plain) ** 2
    precoder, power, _ = ops.min_power(inputs[0], noise, inputs[1])
    near(precoder.detach(), plain.detach(), 1e-6)
    for value, expected in ((readout(precoder), readout(plain)), (power, spent)):
        found = torch.autograd.grad(value, inputs, retain_graph=True)
        right = torch.autograd.grad(expected, others, retain_graph=True)
        for left, exact in zip(found, right, strict=True):
            near(left, exact, 1e-5)
    # At the power that the rates need the highest common rate, over weights of theirs, is 1.
    inputs = tracked((channel, spent.detach(), asked))
    precoder, common = ops.max_min(inputs[0], inputs[1], noise, inputs[2])
    near(common.detach(), 1.0, 1e-6)
    d_power = torch.autograd.grad(spent, others, retain_graph=True)
    d_beams = torch.autograd.grad(readout(plain), others)
    per_level = (asked * d_power[1]).sum()
    along = (asked * d_beams[1]).sum() / per_level
    for value, parts in (
        (common, (-d_power[0] / per_level, 1.0 / per_level, -d_power[1] / per_level)),
        (
            readout(precoder),
            (d_beams[0] - along * d_power[0], along, d_beams[1] - along * d_power[1]),
        ),
    ):
        found = torch.autograd.grad(value, inputs, retain_graph=True)
        for left, exact in zip(found, parts, strict=True):
            near(left, exact, 1e-5)


def test_gradients_of_balanced_rates_in_single_precision() -> None:
    """At 100 dB too, where rounded beams do not tell what users hear of each other."""
    rng = np.random.default_rng(9)
    channel, weights = gaussian(rng, 3, 4, 4, dtype=torch.complex64), uniform(rng, 3, 4)
    for noise in (1.0, 1e-10):
        slopes = []
        for value in (channel, channel.to(torch.complex128)):
            value = value.clone().requires_grad_()
            precoder, common = ops.max_min(value, 1.0, noise, weights)
            assert precoder.dtype == value.dtype
            assert common.dtype == torch.float64
            slopes.append(torch.autograd.grad(common.sum() + readout(precoder), value)[0])
        near(slopes[0], slopes[1], 1e-5)


def test_gradients_of_balanced_rates_where_users_are_left_out() -> None:
    """Of the others they are those without these users; their own are zero."""
    rng = np.random.default_rng(4)
    rest = [0, 2, 3]
    for name, unheard in (("max_min", False), ("min_power", False), ("max_min", True)):
        channel, weights = gaussian(rng, 4, 3), uniform(rng, 4)
        if unheard:
            channel[1] = 0.0
        else:
            weights[1] = 0.0
        given = (2.0, 0.3) if name == "max_min" else (0.3,)
        inputs, others = (
            tracked((channel, weights)),
            tracked((channel[rest], weights[rest])),
        )
        whole, part = (getattr(ops, name)(x[0], *given, x[1]) for x in (inputs, others))
        found = torch.autograd.grad(readout(whole[0][:, rest]), inputs, retain_graph=True)
        right = torch.autograd.grad(readout(part[0]), others, retain_graph=True)
        for left, exact in zip(found, right, strict=True):
            near(left[rest], exact, 1e-10)
            assert (left[1] == 0.0).all()
        found = torch.autograd.grad(whole[1], inputs)
        if unheard:  # the lowest rate is zero, and least there
            assert all((slope == 0.0).all() for slope in found)
            continue
        for left, exact in zip(found, torch.autograd.grad(part[1], others), strict=True):
            near(left[rest], exact, 1e-10)
            assert (left[1] == 0.0).all()


def test_no_gradient_flows_through_what_no_power_reaches() -> None:
    """Nor where nobody has a weight; the other items keep theirs."""
    rng = np.random.default_rng(6)
    channel = gaussian(rng, 3, 2, 2)
    channel[1, 1] = 2j * channel[1, 0]
    rates = torch.full((2,), 1.2, dtype=torch.float64)  # two parallel users cannot both have 1
    (tracked_channel, tracked_rates), kept = tracked((channel, rates)), [0, 2]
    precoder, power, feasible = ops.min_power(tracked_channel, 0.1, tracked_rates)
    assert feasible.tolist() == [True, False, True]
    (readout(precoder) + power.sum()).backward()
    assert (tracked_channel.grad[1] == 0.0).all()
    others = tracked((channel[kept], rates))
    precoder, power, _ = ops.min_power(others[0], 0.1, others[1])
    scale = torch.zeros(3, *precoder.shape[1:], dtype=precoder.dtype)
    scale[kept] = precoder
    (readout(scale) + power.sum()).backward()
    near(tracked_channel.grad[kept], others[0].grad)
    near(tracked_rates.grad, others[1].grad)
    inputs = tracked((channel, 0.0 * rates))
    precoder, common = ops.max_min(inputs[0], 1.0, 0.1, inputs[1])
    assert common.isinf().all()
    for slope in torch.autograd.grad(readout(precoder) + common.sum(), inputs):
        assert (slope == 0.0).all()


def test_units_of_balanced_rates_change_no_gradient() -> None:
    rng = np.random.default_rng(7)
    channel, weights = gaussian(rng, 3, 3), uniform(rng, 3)
    slopes = []
    for unit in (1.0, 1e-9, 1e9):
        inputs = tracked((unit * channel, weights))
        precoder, common = ops.max_min(inputs[0], 2.0, 0.1 * unit**2, inputs[1])
        d_channel, d_weights = torch.autograd.grad(common + readout(precoder), inputs)
        slopes.append((unit * d_channel, d_weights))
    for scaled in slopes[1:]:
        for left, right in zip(scaled, slopes[0], strict=True):
            near(left, right, 1e-9)


def test_ascent_of_the_common_rate() -> None:
    """What the operator is for: amplitudes trained on the lowest rate."""
    rng = np.random.default_rng(8)
    channel, phase = gaussian(rng, 5, 3, 16), gaussian(rng, 16, 3)
    logits = torch.zeros(5, 16, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    rates = []
    for _ in range(40):
        effective = ops.effective_channel(channel, torch.sigmoid(logits), phase)
        rate = ops.max_min(effective, 1.0, 0.1)[1]
        optimizer.zero_grad()
        (-rate.mean()).backward()
        optimizer.step()
        rates.append(rate.detach())
    assert (rates[-1] > rates[0] + 0.2).all()


def test_sweeps_keep_beams_that_reach_no_one() -> None:
    channel = torch.zeros(2, 1, 2, dtype=torch.complex128)
    channel[1, 0, 0] = 1.0
    beams = torch.zeros(2, 2, 1, dtype=torch.complex128)
    beams[:, 1] = 3.0
    near(ops.wmmse_sweep(channel, beams, 4.0, 0.1), 2.0 * beams / 3.0)
    nothing = (0.0 * beams).requires_grad_()
    swept = ops.wmmse_sweep(channel, nothing, 4.0, 0.1)
    near(swept.detach(), 0.0 * beams)
    assert torch.autograd.grad(readout(swept), nothing)[0].isfinite().all()
    weights = torch.zeros(1, dtype=torch.float64)
    near(ops.wmmse_sweep(channel, beams, 4.0, 0.1, weights), 2.0 * beams / 3.0)


def test_more_users_than_feeds() -> None:
    _, arguments = cases()["zero_forcing"]
    channel = arguments[0].mT
    with pytest.raises(ValueError, match=r"effective_channel: expected .* K <= M"):
        ops.zero_forcing(channel, 1.0)
    with pytest.raises(ValueError, match=r"effective_channel: expected .* K <= M"):
        definitions.zero_forcing(channel, torch.tensor(1.0))


@pytest.mark.parametrize("noise_power", [1e-17, 1e9])
def test_ends_of_the_signal_to_noise_range_in_single_precision(noise_power: float) -> None:
    _, arguments = cases()["sum_rate"]
    channel, amplitudes, phase, digital, _ = arguments
    exact = ops.sum_rate_gradient(channel, amplitudes, phase, digital, noise_power)
    near(naive.sum_rate(channel[0], amplitudes[0], phase, digital[0], noise_power), exact[0][0])
    inputs = tracked(tuple(map(lower, (channel, amplitudes, phase, digital))))
    rate = ops.sum_rate(*inputs, noise_power)
    rate.sum().backward()
    near(rate.detach(), exact[0], 1e-5)
    near(inputs[1].grad, exact[1], 1e-4)
    near(inputs[3].grad, exact[2], 1e-4)


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"channel": np.ones((2, 4))}, TypeError, "channel: expected a torch.Tensor, got ndarray"),
        ({"digital": torch.ones(4, 2) + 0j}, ValueError, r"digital: expected \(..., L, K\)"),
        ({"amplitudes": torch.full((4,), 1.5)}, ValueError, r"amplitudes: expected .* \[0, 1\]"),
        ({"noise_power": -1.0}, ValueError, "noise_power: expected .* positive and finite, got -1"),
        ({"noise_power": torch.tensor(0.0)}, ValueError, "noise_power: expected .* positive"),
        ({"noise_power": None}, TypeError, "noise_power: expected a torch.Tensor, got NoneType"),
        ({"weights": torch.tensor([-1.0, 1.0])}, ValueError, "weights: expected .* at least 0"),
    ],
)
def test_bad_arguments_of_the_rate(change: dict[str, Any], error: type, message: str) -> None:
    _, arguments = cases(batch=())["sum_rate"]
    names = ("channel", "amplitudes", "phase", "digital", "noise_power")
    good = dict(zip(names, arguments, strict=True))
    with pytest.raises(error, match=message):
        ops.sum_rate(**{**good, **change})


def test_bad_arguments_of_the_others() -> None:
    table = cases(batch=())
    effective, digital, power, noise_power = table["wmmse_sweep"][1]
    amplitudes, phase, precoder, _ = table["project radiated"][1]
    with pytest.raises(ValueError, match=r"digital: expected \(..., L, K\) with L = 3, K = 2"):
        ops.wmmse_sweep(effective, digital.mT, power, noise_power)
    with pytest.raises(ValueError, match=r"gram: expected \(..., L, L\)"):
        ops.wmmse_sweep(effective, digital, power, noise_power, gram=phase)
    with pytest.raises(ValueError, match="power: expected a value positive and finite, got 0"):
        ops.scale(amplitudes, phase, digital, 0)
    with pytest.raises(ValueError, match=r"phase: expected \(..., N, L\) with N = 4"):
        ops.scale(amplitudes, phase[1:], digital, power)
    with pytest.raises(TypeError, match=r"min_rate: expected a torch\.Tensor, got float"):
        ops.min_power(effective, noise_power, 1.0)
    with pytest.raises(ValueError, match=r"min_rate: expected .* at least 0"):
        ops.min_power(effective, noise_power, -torch.ones(2))
    with pytest.raises(ValueError, match="power: expected a value positive and finite, got 0"):
        ops.max_min(effective, 0, noise_power)
    link = table["sum_rate"][1][:4]
    with pytest.raises(ValueError, match="power: expected a value positive and finite, got -1"):
        ops.wmmse_gradient(*link, -1.0, noise_power)
    with pytest.raises(ValueError, match="sweeps: expected an integer from 0"):
        ops.wmmse_gradient(*link, power, noise_power, sweeps=-1)
    with pytest.raises(ValueError, match="constraint: expected 'radiated' or 'digital'"):
        ops.wmmse_gradient(*link, power, noise_power, constraint="total")
    for operator, last in ((ops.project, precoder), (ops.scale, digital)):
        with pytest.raises(ValueError, match="constraint: expected 'radiated' or 'digital'"):
            operator(amplitudes, phase, last, power, "total")


@pytest.mark.slow
def test_without_torch_the_package_works_and_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import hmimo_fast as hf\n"
        "print(hf.water_filling([1.0], 1.0, 0.5)[0])\n"
        "try:\n    import hmimo_fast.nn\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[1.]\n")
    assert "pip install 'hmimo_fast[nn]'" in done.stdout


@pytest.mark.slow
def test_the_package_does_not_import_torch() -> None:
    code = "import sys, hmimo_fast; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------------------------------- CUDA


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@each
@pytest.mark.parametrize("single", [False, True])
def test_cuda_agrees_with_the_cpu(name: str, single: bool) -> None:
    function, arguments = cases(batch=(33,))[name]
    if single:
        arguments = tuple(map(lower, arguments))
    results = []
    for device in ("cpu", "cuda"):
        inputs = tuple(a.detach().to(device).requires_grad_() for a in arguments)
        if name == "scale digital" and device == "cuda":
            pytest.skip("closes over tensors of the CPU")
        value = function(*inputs)
        gradients = torch.autograd.grad(readout(value.cpu()), inputs)
        results.append([value.detach().cpu(), *(g.cpu() for g in gradients)])
    for left, right in zip(*results, strict=True):
        near(left, right, 1e-3 if single else 1e-9)


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_gradients_in_complex_weights_are_those_of_differences(constraint: str) -> None:
    """Of elements other than amplitudes, through every operator that takes them."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> torch.Tensor:
        values = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return torch.from_numpy(values).requires_grad_()

    channel, phase, digital, precoder = drawn(2, 3, 5), drawn(5, 3), drawn(2, 3, 3), drawn(2, 5, 3)
    turns = 0.7 * np.exp(2j * np.pi * rng.random((2, 5)))
    weights = torch.from_numpy(turns).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(ops.effective_channel, (channel, weights, phase))
    assert check(lambda *link: ops.sum_rate(*link, 0.3), (channel, weights, phase, digital))
    assert check(lambda *wave: ops.project(*wave, 2.0, constraint), (weights, phase, precoder))
