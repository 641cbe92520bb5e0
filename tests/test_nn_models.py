"""The networks: properties that hold for any weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import hmimo_fast as hf  # noqa: E402
from hmimo_fast.nn import ops  # noqa: E402
from hmimo_fast.nn.models import FNN, GNN2D, MBDNN, UnrolledNet  # noqa: E402
from hmimo_fast.nn.models.candidates import best_of  # noqa: E402
from hmimo_fast.nn.models.link import Link  # noqa: E402
from hmimo_fast.nn.models.steps import (  # noqa: E402
    Point,
    Step,
    curvature,
    nested,
    spectral_step,
    tried,
    waves,
    within,
)

CONSTRAINTS = ("radiated", "digital")
EQUIVARIANT = {
    "mbdnn": lambda **config: MBDNN(
        layers=3, width=8, hidden=4, edge_width=8, edge_hidden=4, **config
    ),
    "unrolled": lambda **config: UnrolledNet(layers=3, width=8, hidden=4, **config),
    "gnn2d": lambda **config: GNN2D(widths=(4, 8, 4), **config),
    "gnn2d of candidates": lambda **config: GNN2D(widths=(4, 8, 4), candidates=3, **config),
}
SMALL = {
    **EQUIVARIANT,
    "fnn": lambda **config: FNN(users=3, elements=12, width=8, **config),
    "fnn of candidates": lambda **config: FNN(3, 12, width=8, candidates=3, **config),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For problems this small a second thread only adds waiting on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name, seed=0, **config):
    """A small network in double precision with weights that are zero nowhere."""
    torch.manual_seed(seed)
    model = SMALL[name](**config).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model


def draw(items=4, users=3, elements=12, feeds=4, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return torch.from_numpy(rng.normal(size=(*shape, 2)) @ np.array([1.0, 1j]) / np.sqrt(2))

    angles = rng.uniform(-np.pi, np.pi, (elements, feeds))
    return normal(items, users, elements), torch.from_numpy(np.exp(1j * angles))


def spent(amplitudes, phase, digital, constraint):
    """Power of each item, in NumPy."""
    beams, waves = digital.numpy(), phase.numpy()
    if constraint == "radiated":
        beams = np.einsum("bn,nl,blk->bnk", amplitudes.numpy(), waves, beams)
    return np.linalg.norm(beams.reshape(len(beams), -1), axis=1) ** 2


def run(model, *arguments):
    with torch.no_grad():
        return model(*arguments)


# ------------------------------------------------------------ symmetry and size


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", EQUIVARIANT)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    users=st.permutations(range(3)), elements=st.permutations(range(16)), seed=st.integers(0, 1000)
)
def test_permuting_users_and_elements_permutes_the_outputs(name, constraint, users, elements, seed):
    channel, phase = draw(items=2, elements=16, feeds=3, seed=seed)
    model = build(name, seed, constraint=constraint)
    amplitudes, digital = run(model, channel, phase, 1.0, 0.1)
    permuted = run(model, channel[:, users][:, :, elements], phase[elements], 1.0, 0.1)
    # iterations amplify rounding
    torch.testing.assert_close(permuted[0], amplitudes[:, elements], rtol=0.0, atol=1e-3)
    torch.testing.assert_close(permuted[1], digital[:, :, users], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mbdnn", "unrolled"])
def test_permuting_feeds_permutes_the_beams(name):
    channel, phase = draw()
    order = [2, 0, 3, 1]
    model = build(name)
    amplitudes, digital = run(model, channel, phase, 1.0, 0.1)
    permuted = run(model, channel, phase[:, order], 1.0, 0.1)
    torch.testing.assert_close(permuted[0], amplitudes, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(permuted[1], digital[:, order], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 12, 4), (4, 9, 4), (5, 12, 3), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_one_set_of_weights_serves_every_size(name, size, constraint):
    users, elements, feeds = size
    channel, phase = draw(3, users, elements, feeds)
    power = torch.tensor([0.5, 1.0, 20.0], dtype=torch.float64)
    noise_power = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    amplitudes, digital = run(
        build(name, constraint=constraint), channel, phase, power, noise_power
    )
    assert amplitudes.shape == (3, elements)
    assert digital.shape == (3, feeds, users)
    assert ((amplitudes >= 0.0) & (amplitudes <= 1.0)).all()
    np.testing.assert_allclose(spent(amplitudes, phase, digital, constraint), power, rtol=1e-6)


# ------------------------------------------------------------ limits and precision


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", SMALL)
def test_outputs_keep_the_limits_in_both_precisions(name, constraint):
    channel, phase = draw()
    model = build(name, constraint=constraint).float()
    for dtype, real, tolerance in (
        (torch.complex64, torch.float32, 1e-5),
        (torch.complex128, torch.float64, 1e-12),
    ):
        amplitudes, digital = run(model, channel.to(dtype), phase, 2.0, 0.1)
        assert (amplitudes.dtype, digital.dtype) == (real, dtype)
        assert ((amplitudes >= 0.0) & (amplitudes <= 1.0)).all()
        power = spent(amplitudes, phase, digital, constraint)
        np.testing.assert_allclose(power, 2.0, rtol=tolerance)


@pytest.mark.parametrize("name", SMALL)
def test_double_precision_networks_work_in_double_precision(name):
    channel, phase = draw()
    model = build(name)
    seen = []
    with torch.no_grad():
        design = model.design
        model.design = lambda link: seen.append(link) or design(link)
        model(channel.to(torch.complex64), phase, 1.0, 0.1)
    assert torch.as_tensor(seen[0].channel).dtype == torch.complex128


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", SMALL)
def test_units_do_not_matter(name, constraint):
    # -170 dB of path gain; the phase in another unit too; powers in mW
    channel, phase = draw()
    model = build(name, constraint=constraint)
    amplitudes, digital = run(model, channel, phase, 1.0, 0.1)
    gain = 10.0 ** (-170 / 20)
    noise_power = 100.0 * gain**2
    quiet = run(model, gain * channel, phase, 1000.0, noise_power)
    torch.testing.assert_close(quiet[0], amplitudes, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(quiet[1], 1000.0**0.5 * digital, rtol=1e-5, atol=1e-5)
    single = run(
        model.float(),
        (gain * channel).to(torch.complex64),
        phase.to(torch.complex64),
        1e3,
        noise_power,
    )
    assert torch.isfinite(single[1]).all()
    np.testing.assert_allclose(single[0], amplitudes, atol=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_the_same_call_gives_the_same_bits(name):
    channel, phase = draw()
    model = build(name)
    for first, second in zip(run(model, channel, phase), run(model, channel, phase), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", SMALL)
def test_a_bad_item_spoils_no_other(name, constraint):
    channel, phase = draw()
    model = build(name, constraint=constraint)
    amplitudes, digital = run(model, channel, phase, 1.0, 0.1)
    channel[1, 0, 3] = torch.nan
    channel[2] = 0.0
    bad = run(model, channel, phase, 1.0, 0.1)
    for good, other in zip((amplitudes, digital), bad, strict=True):
        torch.testing.assert_close(good[[0, 3]], other[[0, 3]], rtol=1e-6, atol=1e-9)
        assert torch.isfinite(other[2]).all()
    assert torch.isnan(bad[1][1]).any()


@pytest.mark.parametrize("name", SMALL)
def test_an_empty_batch_is_served(name):
    channel, phase = draw(items=0)
    amplitudes, digital = run(build(name), channel, phase, 1.0, 0.1)
    assert amplitudes.shape == (0, 12)
    assert digital.shape == (0, 4, 3)


def test_users_in_one_direction_are_served():
    channel, phase = draw(users=2)
    channel[:, 1] = 2.0 * channel[:, 0]
    for name in EQUIVARIANT:
        amplitudes, digital = run(build(name), channel, phase, 1.0, 0.1)
        assert torch.isfinite(digital).all()
        np.testing.assert_allclose(spent(amplitudes, phase, digital, "radiated"), 1.0)


# ------------------------------------------------------------ weights


def count(model):
    return sum(weight.numel() for weight in model.parameters())


def test_parameter_counts_are_those_of_paper_a():
    with torch.device("meta"):
        assert count(MBDNN()) <= 73_160
        layers = GNN2D().layers
        assert sum(w.numel() for w in layers.parameters() if w.ndim == 2) == 5 * 819_200
        assert count(FNN()) == pytest.approx(10.77e6, abs=5e3)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", SMALL)
def test_the_loss_reaches_every_weight(name, constraint):
    channel, phase = draw()
    model = build(name, constraint=constraint)
    amplitudes, digital = model(channel, phase, 1.0, 0.1)
    effective = (channel * amplitudes[:, None]) @ phase
    gain = (effective @ digital).abs() ** 2
    signal = torch.diagonal(gain, dim1=-2, dim2=-1)
    rate = torch.log1p(signal / (gain.sum(-1) - signal + 0.1)).sum()
    rate.backward()
    for key, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all(), key
        # A constant added to the scores of all users or sets cancels in the shares.
        if not key.endswith(("attention.0.bias", "attention.1.bias", "choice.leave.bias")):
            assert weight.grad.abs().max() > 1e-10, key


def test_a_gnn_of_feeds_knows_where_each_element_is():
    """Elements may be in any order, with the rows of Phi, and users' phases are anything."""
    channel, phase = draw(feeds=2)
    model = build("gnn2d", feeds=2, candidates=4)
    amplitudes, _ = run(model, channel, phase, 1.0, 0.1)
    order, turn = torch.randperm(12), torch.exp(2j * torch.rand(4, 3, 1)).to(channel.dtype)
    permuted = run(model, turn * channel[..., order], phase[order], 1.0, 0.1)
    torch.testing.assert_close(permuted[0], amplitudes[:, order])
    assert not torch.allclose(run(model, channel, phase[order], 1.0, 0.1)[0], amplitudes)
    with pytest.raises(ValueError, match=r"^phase: expected 2 feeds"):
        model(*draw(feeds=3), 1.0, 0.1)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_best_candidate_is_taken_and_all_of_them_learn(constraint):
    channel, phase = draw()
    link = Link.scaled(channel, phase, *torch.ones(2, 4), constraint)
    amplitudes = torch.rand(4, 5, 12, dtype=torch.float64, requires_grad=True)
    precoders = torch.randn(4, 5, 12, 3, dtype=torch.complex128)
    singly = [
        best_of(link, amplitudes[:, [i, i]], precoders[:, [i, i]], training=False) for i in range(5)
    ]
    rates = torch.stack([link.rates(m, v).sum(1) for m, v in singly], 1)
    found = best_of(link, amplitudes, precoders, training=False)
    torch.testing.assert_close(link.rates(*found).sum(1), rates.amax(1))
    learned, _ = best_of(link, amplitudes, precoders, training=True)
    (slope,) = torch.autograd.grad(learned.sum(), amplitudes)
    m = amplitudes.detach().clone().requires_grad_()
    shares = torch.softmax(5.0 * rates, 1).detach()
    expected = torch.zeros(())
    for i in range(5):
        one, beams = best_of(link, m[:, [i, i]], precoders[:, [i, i]], training=False)
        at = ops.sum_rate(link.channel, one, phase, beams, link.noise_power)
        expected = expected - (shares[:, i] * at).mean()
    torch.testing.assert_close(slope, torch.autograd.grad(expected, m)[0])


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_set_is_credited_with_what_it_leads_to(constraint):
    """The gradient of the choice is that of the rates after plain steps, weighted by the shares."""
    channel, phase = draw()
    model = build("mbdnn", constraint=constraint)
    link = Link.scaled(channel, phase, *torch.full((2, 4), 1.0), constraint)
    sets = tried(link, 1, 2)
    scores = model.choice(sets)
    (expected,) = torch.autograd.grad(
        -(scores.softmax(1) * sets.later(3, 2)).sum(1).mean(), model.choice.enter.weight
    )
    model(channel, phase, 1.0, 1.0)[0].sum().backward()
    torch.testing.assert_close(model.choice.enter.weight.grad, expected)


@pytest.mark.slow  # the compiler takes seconds
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", SMALL)
def test_compiled_without_a_graph_break(name):
    """On the backend that traces forward and backward but generates no code."""
    channel, phase = draw()
    model = build(name)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, actual = model(channel, phase, 1.0, 0.1), compiled(channel, phase, 1.0, 0.1)
    torch.testing.assert_close(actual, expected)
    slopes = [
        torch.autograd.grad(sum(value.abs().sum() for value in found), model.parameters())
        for found in (actual, expected)
    ]
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        torch.testing.assert_close(compiled(channel, phase, 1.0, 0.1), expected)


@pytest.mark.parametrize("name", SMALL)
def test_the_configuration_builds_the_network_again(name):
    model = build(name, constraint="digital")
    config = json.loads(json.dumps(model.config))
    again = type(model)(**config).double()
    again.load_state_dict(model.state_dict())
    assert again.config == model.config
    channel, phase = draw()
    for first, second in zip(run(model, channel, phase), run(again, channel, phase), strict=True):
        assert torch.equal(first, second)


# ------------------------------------------------------------ errors


@pytest.mark.parametrize("model", [MBDNN, GNN2D, FNN, UnrolledNet])
def test_an_unknown_constraint_is_refused(model):
    with pytest.raises(ValueError, match="constraint: expected 'radiated' or 'digital', got 'x'"):
        model(constraint="x")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MBDNN(layers=0), "layers: expected an integer from 1 to 10000, got 0"),
        (lambda: UnrolledNet(hidden=-1), "hidden: expected an integer from 1 to 10000, got -1"),
        (lambda: FNN(width=2.5), "width: expected an integer, got 2.5"),
        (lambda: GNN2D(widths=()), "widths: expected one size at least, got none"),
        (lambda: GNN2D(widths=(4, "8")), "widths: expected an integer, got '8'"),
    ],
)
def test_wrong_sizes_are_named(build, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        build()


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SMALL)
def test_half_precision_is_refused(name, dtype):
    channel, phase = draw()
    with pytest.raises(TypeError, match=f"^weights: expected all of float32 .*, got {dtype}"):
        run(build(name).to(dtype), channel, phase)
    for pair in ((channel.to(torch.complex32), phase), (channel, phase.to(torch.complex32))):
        with pytest.raises(TypeError, match="expected complex64 or complex128, got torch"):
            run(build(name), *pair)


def test_wrong_inputs_are_named():
    channel, phase = draw()
    model = build("unrolled")
    for arguments, error, message in (
        ((channel.real, phase), TypeError, "channel: expected complex"),
        ((channel, phase.real), TypeError, "phase: expected complex"),
        ((channel[0], phase), ValueError, r"channel: expected \(B, K, N\), got \(3, 12\)"),
        ((channel, phase[None]), ValueError, r"phase: expected \(N, L\)"),
        ((channel[..., 1:], phase), ValueError, "channel: expected .* N = 12"),
        ((channel, phase, torch.ones(3)), ValueError, "power: expected a scalar or .* B = 4"),
        ((channel, phase, 1.0, torch.ones(2, 2)), ValueError, "noise_power: expected a scalar"),
    ):
        with pytest.raises(error, match=message):
            model(*arguments)


def test_the_fully_connected_network_refuses_other_sizes():
    channel, phase = draw(users=2)
    with pytest.raises(ValueError, match="K = 3 and N = 12"):
        build("fnn")(channel, phase)


# ------------------------------------------------------------ what layers are made of


def optimum(users=3, elements=8, noise_power=0.3, seed=1):
    """Channels h_k as columns, and beams w_k over all elements that WMMSE has converged to."""
    rows = draw(1, users, elements, seed=seed)[0][0].numpy()
    precoder = hf.wmmse(rows, 1.0, noise_power, iterations=5000)
    return rows.conj().T, precoder


def test_coefficients_exist_that_make_the_structure_the_best_precoder():
    # [A] eq. 10: w_k = b_k h_k - sum over i != k of a_ik (h_i^H w_k) h_i, solved for b and a
    channels, precoder = optimum()
    users = precoder.shape[1]
    attention = np.empty((users, users))
    for k in range(users):
        terms = channels * (channels.conj().T @ precoder[:, k])
        terms[:, k] = -channels[:, k]
        found, *_ = np.linalg.lstsq(-terms, precoder[:, k], rcond=None)
        np.testing.assert_allclose(-terms @ found, precoder[:, k], atol=1e-8)
        np.testing.assert_allclose(found.imag[np.arange(users) != k], 0.0, atol=1e-6)
        attention[:, k] = found.real
        attention[k, k] = np.nan
    # positive, and each user's the same in all beams, as MBDNN has it
    assert np.nanmin(attention) > 0.0
    np.testing.assert_allclose(
        np.nanmax(attention, axis=1), np.nanmin(attention, axis=1), rtol=1e-5
    )


def test_coefficients_exist_that_force_zeros():
    # [A] eq. 15-17: the linear system for a_ik under which w_k meets no other user
    channels, _ = optimum()
    users = channels.shape[1]
    gram = channels.conj().T @ channels
    for k in range(users):
        others = np.arange(users) != k
        reached = gram[others][:, others] * gram[others, k]
        attention = np.linalg.solve(reached, gram[others, k])
        matched = channels[:, k]
        precoder = matched - channels[:, others] @ (attention * gram[others, k])
        np.testing.assert_allclose(channels[:, others].conj().T @ precoder, 0.0, atol=1e-10)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_layer_of_mbdnn_keeps_the_best_precoder(constraint):
    # Its structure at weights 1 has the best beams as a fixed point: here over the surface.
    channel, phase = draw(items=1)
    amplitudes = torch.from_numpy(np.random.default_rng(2).random((1, 12)))
    link = Link(channel, phase, torch.tensor([0.3], dtype=torch.float64), constraint)
    effective = hf.effective_channel(channel[0], amplitudes[0], phase)
    root = np.eye(4)
    if constraint == "radiated":
        surface = amplitudes[0].numpy()[:, None] * phase.numpy()
        root = np.linalg.inv(np.linalg.cholesky(surface.conj().T @ surface).conj().T)
    best = root @ hf.wmmse(effective @ root, 1.0, 0.3, iterations=5000)
    _, kept, _ = link.ascent(amplitudes, torch.from_numpy(best)[None], 1, torch.ones(1, 3))
    np.testing.assert_allclose(kept[0], best, atol=1e-8)


def matched(channel, amplitudes, phase):
    return ((channel * amplitudes[:, None]) @ phase).mH


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_gradient_is_that_of_the_best_rate(constraint):
    # Finite differences of the rate that WMMSE beams reach at the amplitudes, and of that again,
    # in the amplitudes and in the weights of the users.
    channel, phase = draw(items=1, users=2, elements=4)
    link = Link(channel, phase, torch.tensor([0.2], dtype=torch.float64), constraint)
    amplitudes = torch.full((1, 4), 0.5, dtype=torch.float64)
    amplitudes += 0.3 * torch.sin(torch.arange(4.0))
    weights = torch.tensor([[0.8, 1.2]], dtype=torch.float64)
    start = matched(channel, amplitudes, phase)

    def ascent(at, users=weights):
        return link.ascent(at, start, 500, users)

    def rate(at):
        _, beams, _ = ascent(at)
        return hf.sum_rate(channel[0], at[0], phase, beams[0], 0.2, weights[0])

    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    differences = [(rate(amplitudes + step) - rate(amplitudes - step)) / 2e-5 for step in steps]
    tracked = [x.clone().requires_grad_() for x in (amplitudes, weights)]
    found, _, gradient = ascent(*tracked)
    np.testing.assert_allclose(found, rate(amplitudes), rtol=1e-10)
    np.testing.assert_allclose(gradient[0].detach(), differences, rtol=1e-5, atol=1e-6)

    vector = torch.cos(torch.arange(4.0, dtype=torch.float64))
    (gradient @ vector).sum().backward()
    for at, step, move in (
        (0, steps, lambda by: ascent(amplitudes + by)),
        (1, steps[:2, :2], lambda by: ascent(amplitudes, weights + by)),
    ):
        bend = [(move(by)[2] - move(-by)[2]) @ vector / 2e-5 for by in step]
        torch.testing.assert_close(tracked[at].grad[0], torch.cat(bend), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_first_set_is_of_all_users_and_each_other_leaves_the_weakest_out(constraint):
    # User 1 is strongest; of the others, 2 is nearly its copy, so the order is 1, 0, 2.
    channel, phase = draw(items=1, elements=16)
    channel[0, 1] *= 3.0
    channel[0, 2] = 0.9 * channel[0, 1] + 0.1 * channel[0, 2]
    link = Link(channel, phase, torch.tensor([0.1], dtype=torch.float64), constraint)
    amplitudes, digital = nested(link)
    served = digital[0].abs().sum(1) > 0.0
    assert served.tolist() == [[True, True, True], [True, True, False], [False, True, False]]
    assert ((amplitudes > 0.0) & (amplitudes <= 1.0)).all()


def test_a_start_sends_what_zero_forcing_over_the_elements_would():
    # With as many feeds as elements, nothing is lost on the way: no user meets another's beam.
    channel, _ = draw(items=2, elements=4)
    phase = torch.linalg.qr(draw(1, 4, 4, seed=7)[0][0])[0]
    link = Link(channel, phase, torch.tensor([0.1, 0.1], dtype=torch.float64), constraint="digital")
    amplitudes, digital = nested(link)
    received = (channel @ phase @ digital[:, 0]).numpy()
    apart = received - received * np.eye(3)
    np.testing.assert_allclose(apart, 0.0, atol=1e-4 * abs(received).max())
    np.testing.assert_allclose(np.linalg.norm(digital[:, 0], axis=1), 1.0)
    # and the fit has nothing to fit
    torch.testing.assert_close(amplitudes, torch.ones_like(amplitudes))


def test_the_curvature_is_that_of_the_radiated_power():
    channel, phase = draw(items=1, elements=9)
    link = Link(channel, phase, torch.tensor([0.1], dtype=torch.float64), constraint="radiated")
    beams = matched(channel, torch.ones(1, 9), phase)
    power = torch.stack(
        [torch.linalg.norm(phase * one[:, None] @ beams[0]) ** 2 for one in torch.eye(9)]
    )
    bend = curvature(link, waves(link, beams))
    torch.testing.assert_close(bend[0] - 0.05, power / power.mean())


@pytest.mark.parametrize("backend", [hf.get_backend(), "numpy"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("name", ["mbdnn", "unrolled"])
def test_arrays_give_what_tensors_give(name, constraint, backend):
    # Arrays where no gradient is asked for, whatever the strides of what came in.
    channel, phase = (x.mT.contiguous().mT for x in draw(items=3))
    model = build(name, constraint=constraint)
    noise_power = torch.tensor([0.1, 0.3, 0.5], dtype=torch.float64)
    with hf.backend(backend):
        found = run(model, channel, phase, 1.0, noise_power)
        expected = model(channel, phase, 1.0, noise_power)
        each = run(torch.func.vmap(lambda h: model(h[None], phase, 1.0, 0.3)[0][0]), channel)
    for values, right in zip(found, expected, strict=True):
        torch.testing.assert_close(values, right.detach(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(each[1], found[0][1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("model", [MBDNN, UnrolledNet])
def test_a_large_batch_is_its_parts(model, monkeypatch):
    channel, phase = draw(items=7)
    net = model(layers=2).double()
    whole = run(net, channel, phase, 1.0, torch.linspace(0.1, 0.7, 7))
    monkeypatch.setattr(model, "PART", 3)
    for part, expected in zip(
        run(net, channel, phase, 1.0, torch.linspace(0.1, 0.7, 7)), whole, strict=True
    ):
        np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-9)


def test_a_scaled_link_has_the_rates_of_the_original():
    channel, phase = draw()
    amplitudes = torch.full((4, 12), 0.7, dtype=torch.float64)
    power = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    for constraint in CONSTRAINTS:
        arguments = 1e-8 * channel, 5.0 * phase, power, 1e-17 * power**2
        link = Link.scaled(*arguments, constraint)
        assert link.channel.abs().square().mean().item() == pytest.approx(1.0)
        _, beams, _ = link.ascent(amplitudes, matched(link.channel, amplitudes, link.phase), 0)
        norms = spent(amplitudes, arguments[1], beams, constraint)
        original = beams * torch.sqrt(power / torch.from_numpy(norms))[:, None, None]
        expected = hf.sinr(arguments[0], amplitudes, arguments[1], original, arguments[3])
        np.testing.assert_allclose(link.rates(amplitudes, beams), np.log2(1 + expected))


def test_the_spectral_step_is_that_of_a_quadratic():
    # On -curvature/2 norm(x - x*)^2, in the metric of its own bend, the second step lands on x*.
    goal, bend = torch.tensor([[0.3, 0.6]]), torch.tensor([[4.0, 1.0]])
    start, second = torch.tensor([[0.9, 0.9]]), torch.tensor([[0.5, 0.7]])
    gradients = [2.0 * bend * (goal - at) for at in (start, second)]
    step, _ = spectral_step(second, second - start, *gradients, bend, 1.0)
    torch.testing.assert_close(second + step, goal)
    none = torch.zeros(1, 2)
    step, length = spectral_step(start, none, none, gradients[0], bend, 0.3)
    torch.testing.assert_close(step, torch.tensor([[-0.15, -0.075]]))
    assert length.item() == pytest.approx(0.15)


def test_elements_that_are_held_at_zero_do_not_shorten_the_step():
    last, gradient = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5, -3.0]])
    at, change = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.25, -0.25]])
    step, _ = spectral_step(at, change, last, gradient, torch.ones(1, 1), 1.0)
    free = 2.0 * 0.25**2 / (0.25 * 0.5)
    torch.testing.assert_close(step[0, 0], torch.tensor(0.5 * free))


def test_a_step_is_stretched_and_shifted_in_units_of_its_length():
    at, none = torch.full((1, 2), 0.5), torch.zeros(1, 2)
    step = Step(None, "beams", "slope", None, torch.tensor([[-0.15, 0.1]]), torch.tensor([[0.15]]))
    ahead = Point(at, None, none, none).moved(step, 1.0, 2.0)
    torch.testing.assert_close(ahead.amplitudes, torch.tensor([[0.5, 1.0]]))
    torch.testing.assert_close(ahead.change, torch.tensor([[0.0, 0.5]]))
    assert (ahead.digital, ahead.last) == ("beams", "slope")


def test_no_item_drowns_the_others_on_the_way_back():
    move = torch.full((21, 2), -0.5, requires_grad=True)
    scale = torch.arange(1.0, 22.0)[:, None]
    scale[20] = 1e6
    (within(torch.ones(21, 2), move) * scale).sum().backward()
    torch.testing.assert_close(move.grad, torch.full((21, 2), 11.0))


def test_a_move_that_turns_everything_off_is_not_made():
    at, move = torch.tensor([[0.5, 0.2], [0.5, 0.2]]), torch.tensor([[-1.0, -1.0], [-1.0, 2.0]])
    torch.testing.assert_close(within(at, move), torch.tensor([[0.5, 0.2], [0.0, 1.0]]))


def test_the_spectral_step_is_differentiable_in_all_it_comes_from():
    values = torch.tensor([[0.5, 0.4], [-0.1, 0.2], [0.9, -0.3], [1.1, -0.6], [0.8, 1.2]]).double()
    inputs = [row[None].requires_grad_() for row in values]
    assert torch.autograd.gradcheck(lambda *x: spectral_step(*x, 1.0)[0], inputs)


@pytest.mark.parametrize("model", [MBDNN, UnrolledNet])
def test_new_networks_start_from_a_good_solver(model):
    surface = hf.Surface((6, 6), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=4, size=40, seed=3)
    torch.manual_seed(0)
    net = model(constraint="digital")
    amplitudes, digital = run(net, torch.from_numpy(channel), torch.tensor(surface.phase), 1.0, 0.1)
    rate = hf.sum_rate(channel, amplitudes, surface.phase, digital, 0.1).mean()
    published = hf.solve(channel, surface.phase, 1.0, 0.1, "wmmse_hbf", "digital").sum_rate.mean()
    assert rate > 1.01 * published
