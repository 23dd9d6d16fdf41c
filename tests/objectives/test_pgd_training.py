from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.objectives import ActivationEntropy, CrossEntropy, InputGradient, PGDTraining
from retemper.threats import L2, Linf, Threat

THREATS = [Linf(0.2), L2(0.7)]


def ascent(
    model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, steps: int, length: float, share: float, seed: int
) -> Tensor:
    """The published loop, one image at a time: x <- project(x + length * steepest(gradient)), then clamp."""
    noise = Noise.drawn(len(inputs), torch.Generator().manual_seed(seed))
    start = threat.with_radius(threat.radius * share).random_start(inputs, noise)
    radius, moved = threat.radius * share, []
    for original, point, label in zip(inputs, start, labels, strict=True):
        for _ in range(steps):
            point = point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(point[None])[0], label), point)
            step = gradient.sign() if isinstance(threat, Linf) else gradient / gradient.norm()
            difference = (point + share * length * step - original).detach()
            if isinstance(threat, Linf):
                difference = difference.clamp(-radius, radius)
            elif difference.norm() > radius:
                difference = difference * radius / difference.norm()
            point = (original + difference).clamp(0, 1)
        moved.append(point)
    return torch.stack(moved)


def seen(model: nn.Module, objective: PGDTraining, batch: tuple[Tensor, Tensor], **settings: Any) -> Tensor:
    """The inputs of the last forward pass, which are those that the inner objective sees."""
    inputs = []
    handle = model.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0].detach().clone()))
    objective.compute(model, *batch, **settings)
    handle.remove()
    return inputs[-1]


@pytest.mark.parametrize(("progress", "share"), [(0.15, 0.5), (0.3, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("threat", THREATS)
def test_it_is_the_objective_at_the_end_of_a_plain_ascent(
    threat: Threat, progress: float, share: float, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    objective = PGDTraining(threat, CrossEntropy() + 0.1 * ActivationEntropy(), steps=4)
    assert objective.step_size == threat.radius * 2.5 / 4
    expected = ascent(model, inputs, labels, threat, 4, objective.step_size, share, seed=5)
    generator = torch.Generator().manual_seed(5)
    loss = objective.compute(model, inputs, labels, progress=progress, generator=generator)
    inner = objective.objective(model, expected, labels)
    assert list(loss.parts) == ["cross-entropy", "activation-entropy"]
    assert loss.total.item() == pytest.approx(inner.item(), rel=1e-6)
    generator = torch.Generator().manual_seed(5)
    found = seen(model, objective, (inputs, labels), progress=progress, generator=generator)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (found != inputs).any()


@pytest.mark.parametrize("threat", THREATS)
def test_at_the_start_of_the_warmup_nothing_moves(
    threat: Threat, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    assert torch.equal(seen(network(3), PGDTraining(threat), batch(3), progress=0.0), batch(3)[0])


@pytest.mark.parametrize(("warmup", "progress", "share"), [(0.3, 0.15, 0.5), (0.3, 1.0, 1.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("threat", THREATS)
def test_the_radius_grows_over_the_warmup(
    threat: Threat,
    warmup: float,
    progress: float,
    share: float,
    network: Callable[[int], nn.Module],
    batch: Callable[[int], Any],
) -> None:
    inputs = 0.5 * torch.ones_like(batch(3)[0])
    objective = PGDTraining(threat, warmup=warmup)
    moved = seen(network(3), objective, (inputs, batch(3)[1]), progress=progress)
    distances = threat.distance(moved, inputs)
    assert distances.max().item() == pytest.approx(share * threat.radius, rel=1e-3)
    assert threat.with_radius(share * threat.radius).allows(moved, inputs).all()


def test_the_gradient_is_that_of_the_objective_at_the_moved_inputs(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    objective = PGDTraining(Linf(0.1), seed=3)
    moved = seen(model, PGDTraining(Linf(0.1), seed=3), (inputs, labels))
    assert all(parameter.grad is None for parameter in model.parameters())
    objective(model, inputs, labels).backward()
    found = [parameter.grad for parameter in model.parameters()]
    expected = torch.autograd.grad(F.cross_entropy(model(moved), labels), list(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_ascent_sees_the_model_in_evaluation_mode_and_the_objective_in_its_own(
    batch: Callable[[int], Any],
) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
    model[2].eval()
    modes = []
    model.register_forward_pre_hook(lambda module, _inputs: modes.append([part.training for part in module.modules()]))
    PGDTraining(Linf(0.1), steps=2)(model, *batch(3))
    assert modes[:2] == [[False] * 5] * 2
    assert modes[2] == [True, True, True, False, True]
    assert model[1].num_batches_tracked.item() == 1


def test_random_starts_follow_the_generator_or_else_the_seed(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model = network(3)
    state = torch.random.get_rng_state()
    one, same, other = (PGDTraining(Linf(0.1), steps=1, seed=seed) for seed in (1, np.int64(1), 2))
    first, second = seen(model, one, batch(3)), seen(model, one, batch(3))
    assert not torch.equal(first, second)
    assert torch.equal(seen(model, same, batch(3)), first)
    assert not torch.equal(seen(model, other, batch(3)), first)
    drawn = [seen(model, one, batch(3), generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_any_objective_can_be_wrapped_and_it_works_without_gradients(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    objective = PGDTraining(Linf(0.1), CrossEntropy() + InputGradient())
    with torch.no_grad():
        loss = objective.compute(network(3), *batch(3))
    assert list(loss.parts) == ["cross-entropy", "input-gradient"]
    assert loss.total.isfinite()


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_inputs_outside_the_bounds_are_refused_instead_of_clamped(
    progress: float, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    inputs, labels = batch(3)
    with pytest.raises(SettingError, match=r"within the bounds \[0, 1\].*Normalise"):
        PGDTraining(Linf(0.1)).compute(network(3), 4 * inputs - 2, labels, progress=progress)
    PGDTraining(Linf(0.1, bounds=(-2.0, 2.0))).compute(network(3), 4 * inputs - 2, labels, progress=progress)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "`steps`"),
        ({"warmup": -0.1}, "`warmup`"),
        ({"warmup": 1.1}, "`warmup`"),
        ({"warmup": float("nan")}, "`warmup`"),
        ({"seed": -1}, "`seed`"),
        ({"step_size": 0.0}, "`step_size`"),
        ({"step_size": -1.0}, "`step_size`"),
        ({"step_size": float("nan")}, "`step_size`"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        PGDTraining(Linf(0.1), **settings)


def test_a_single_step_is_at_most_as_long_as_the_radius() -> None:
    assert PGDTraining(Linf(0.1), steps=1).step_size == 0.1


def test_repr_tells_the_threat_the_objective_and_the_ascent() -> None:
    assert repr(PGDTraining(Linf(8 / 255), steps=5, step_size=0.01)) == (
        "PGDTraining(linf:8/255, CrossEntropy(), steps=5, step_size=0.01, warmup=0.3)"
    )


def test_repr_tells_other_bounds_apart_since_runs_are_known_by_it() -> None:
    assert "(linf:0.1 in [-1.0, 1.0], " in repr(PGDTraining(Linf(0.1, (-1.0, 1.0))))


def test_repr_tells_step_sizes_apart_however_close() -> None:
    first, second = (PGDTraining(Linf(0.1), step_size=size) for size in (0.01, 0.0100000001))
    assert repr(first) != repr(second)
