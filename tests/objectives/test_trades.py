import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.noise import Noise
from retemper.objectives import TRADES, CrossEntropy, as_spec
from retemper.objectives.trades import divergence
from retemper.threats import L2, Linf, Threat

THREATS = [Linf(0.2), L2(0.7)]


def loop_divergence(original: Tensor, moved: Tensor) -> Tensor:
    """sum_k p_k log(p_k / q_k), of one image."""
    shares, others = original.exp() / original.exp().sum(), moved.exp() / moved.exp().sum()
    return sum((p * torch.log(p / q) for p, q in zip(shares, others, strict=True)), start=torch.zeros(()))


def ascent(model: nn.Module, inputs: Tensor, threat: Threat, steps: int, length: float, seed: int) -> Tensor:
    """x' <- project(x' + length * steepest(grad KL(f(x) || f(x')))), one image at a time."""
    noise = Noise.drawn(len(inputs), torch.Generator().manual_seed(seed)).normal(inputs.shape[1], dtype=inputs.dtype)
    moved = []
    for original, start in zip(inputs, inputs + 0.001 * noise, strict=True):
        point = start.clamp(0, 1)
        answer = model(original[None])[0].detach()
        for _ in range(steps):
            point = point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loop_divergence(answer, model(point[None])[0]), point)
            step = gradient.sign() if isinstance(threat, Linf) else gradient / gradient.norm()
            difference = (point + length * step - original).detach()
            if isinstance(threat, Linf):
                difference = difference.clamp(-threat.radius, threat.radius)
            elif difference.norm() > threat.radius:
                difference = difference * threat.radius / difference.norm()
            point = (original + difference).clamp(0, 1)
        moved.append(point.detach())
    return torch.stack(moved)


@pytest.mark.parametrize("threat", THREATS)
def test_value_and_gradient_are_those_of_the_published_loop(
    threat: Threat, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    moved = ascent(model, inputs, threat, 4, threat.radius * 2.5 / 4, seed=5)
    losses = []
    for original, point, label in zip(inputs, moved, labels, strict=True):
        answer, elsewhere = model(original[None])[0], model(point[None])[0]
        losses.append(F.cross_entropy(answer, label) + 2.5 * loop_divergence(answer, elsewhere))
    expected = torch.stack(losses).mean()
    loss = TRADES(threat, beta=2.5, steps=4).compute(model, inputs, labels, generator=torch.Generator().manual_seed(5))
    assert list(loss.parts) == ["cross-entropy", "divergence"]
    assert loss.parts["divergence"].item() > 1e-4
    torch.testing.assert_close(loss.total, expected, rtol=1e-6, atol=0)
    found = torch.autograd.grad(loss.total, list(model.parameters()))
    for one, other in zip(found, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("threat", THREATS)
def test_the_moved_inputs_stay_in_the_ball_and_none_move_at_the_start_of_the_warmup(
    threat: Threat, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0].detach()))
    TRADES(threat)(model, inputs, labels)
    assert threat.allows(seen[-1], inputs).all()
    assert (threat.distance(seen[-1], inputs) > 0.1 * threat.radius).all()
    loss = TRADES(threat).compute(model, inputs, labels, progress=0.0)
    assert torch.equal(seen[-1], inputs)
    assert loss.parts["divergence"].item() == 0


def test_a_ball_smaller_than_the_noise_holds_the_start(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0].detach()))
    threat = Linf(1e-5)
    TRADES(threat)(model, inputs, labels)
    assert all(threat.allows(points, inputs).all() for points in seen)


def test_the_ascent_sees_the_model_in_evaluation_mode_and_the_loss_in_its_own(batch: Callable[[int], Any]) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
    model[2].eval()
    modes = []
    model.register_forward_pre_hook(lambda module, _inputs: modes.append([part.training for part in module.modules()]))
    TRADES(Linf(0.1), steps=2)(model, *batch(3))
    assert modes[:3] == [[False] * 5] * 3
    assert modes[3:] == [[True, True, True, False, True]] * 2
    assert model[1].num_batches_tracked.item() == 2
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_works_without_gradients_and_leaves_the_global_generator_alone(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    state = torch.random.get_rng_state()
    model = network(3)
    torch.random.set_rng_state(state)
    with torch.no_grad():
        loss = TRADES(L2(0.5))(model, *batch(3))
    assert loss.isfinite()
    assert not loss.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


rows = st.lists(st.floats(-30, 30), min_size=3, max_size=3)


@given(rows, rows, st.floats(-1e4, 1e4))
def test_the_divergence_is_that_of_the_formula_and_blind_to_a_shift(
    first: list[float], second: list[float], shift: float
) -> None:
    one, other = torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64)
    log_shares = [value - math.log(sum(map(math.exp, first))) for value in first]
    log_others = [value - math.log(sum(map(math.exp, second))) for value in second]
    expected = sum(math.exp(p) * (p - q) for p, q in zip(log_shares, log_others, strict=True))
    assert divergence(one, other).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert divergence(one + shift, other).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert divergence(one, one).item() == 0


def test_huge_logits_and_half_precision_give_finite_divergences() -> None:
    one, other = torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]])
    assert divergence(one, other).item() == pytest.approx(2e4)
    assert divergence(one.bfloat16(), other.bfloat16()).dtype == torch.float32


def test_autocast_to_bf16_gives_about_the_same_loss_and_finite_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.SiLU(), nn.Linear(32, 3))
    inputs, labels = torch.rand(12, 20), torch.arange(12) % 3
    expected = TRADES(Linf(0.1))(model, inputs, labels).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = TRADES(Linf(0.1))(model, inputs, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=0.05)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_what_an_attack_can_climb_of_it_is_its_own_loss() -> None:
    assert as_spec(TRADES(Linf(0.1))) == as_spec(CrossEntropy())
    assert adaptive(TRADES(Linf(0.1))) is None


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"beta": math.nan}, {"steps": 0}, {"step_size": -1.0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"`{next(iter(settings))}`"):
        TRADES(Linf(0.1), **settings)


def test_repr_tells_the_threat_and_the_ascent() -> None:
    assert repr(TRADES(Linf(0.1))) == "TRADES(linf:0.1, beta=6.0, steps=10, step_size=0.025, warmup=0.3)"


def test_repr_tells_other_bounds_apart_since_runs_are_known_by_it() -> None:
    assert "(linf:0.1 in [-1.0, 1.0], " in repr(TRADES(Linf(0.1, (-1.0, 1.0))))
