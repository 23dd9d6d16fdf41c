from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.objectives import CrossEntropy, FGSMTraining, InputGradient, as_spec
from retemper.threats import L2, Linf, Threat

THREATS = [Linf(0.2), L2(0.7)]


def one_step(model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, radius: float, seed: int) -> Tensor:
    """FGSM with random start, one image at a time."""
    starts = threat.with_radius(radius).random_start(
        inputs, Noise.drawn(len(inputs), torch.Generator().manual_seed(seed))
    )
    moved = []
    for original, start, label in zip(inputs, starts, labels, strict=True):
        leaf = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf[None])[0], label), leaf)
        direction = gradient.sign() if isinstance(threat, Linf) else gradient / gradient.norm()
        difference = start + 1.25 * radius * direction - original
        if isinstance(threat, Linf):
            difference = difference.clamp(-radius, radius)
        elif difference.norm() > radius:
            difference = difference * radius / difference.norm()
        moved.append((original + difference).clamp(0, 1))
    return torch.stack(moved)


@pytest.mark.parametrize(("progress", "share"), [(0.15, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("threat", THREATS)
def test_it_is_the_objective_one_long_step_from_a_random_start(
    threat: Threat, progress: float, share: float, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    passes: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _module, arguments: passes.append(arguments[0].detach().clone()))
    loss = FGSMTraining(threat, CrossEntropy() + 0.1 * InputGradient()).compute(
        model, inputs, labels, progress=progress, generator=torch.Generator().manual_seed(5)
    )
    handle.remove()
    expected = one_step(model, inputs, labels, threat, share * threat.radius, seed=5)
    assert len(passes) == 2
    torch.testing.assert_close(passes[1], expected, rtol=1e-9, atol=1e-9)
    assert list(loss.parts) == ["cross-entropy", "input-gradient"]
    inner = (CrossEntropy() + 0.1 * InputGradient())(model, expected, labels)
    assert loss.total.item() == pytest.approx(inner.item(), rel=1e-6)


def test_the_step_can_leave_the_ball_and_is_brought_back(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    inputs, labels = 0.5 * torch.ones_like(batch(3)[0]), batch(3)[1]
    moved: list[Tensor] = []
    model = network(3)
    model.register_forward_pre_hook(lambda _module, arguments: moved.append(arguments[0].detach()))
    FGSMTraining(Linf(0.2), warmup=0)(model, inputs, labels)
    distances = (moved[1] - inputs).abs()
    # From u in [-r, r] a step of 1.25 r ends outside wherever it does not start in the far eighth.
    assert (distances <= 0.2 + 1e-12).all()
    assert 0.6 < (distances > 0.2 - 1e-12).double().mean() < 1


def test_what_it_wraps_is_told_as_that_of_pgd_training() -> None:
    inner = CrossEntropy() + 0.5 * InputGradient()
    assert as_spec(FGSMTraining(Linf(0.1), inner)) == as_spec(inner)


def test_an_impossible_warmup_is_refused() -> None:
    with pytest.raises(SettingError, match="`warmup`"):
        FGSMTraining(Linf(0.1), warmup=2)


def test_repr_tells_the_threat_and_the_objective() -> None:
    assert repr(FGSMTraining(Linf(8 / 255))) == "FGSMTraining(linf:8/255, CrossEntropy(), warmup=0.3)"


def test_repr_tells_other_bounds_apart_since_runs_are_known_by_it() -> None:
    assert "(linf:0.1 in [-1.0, 1.0], " in repr(FGSMTraining(Linf(0.1, (-1.0, 1.0))))
