import math

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import apgd
from retemper.attacks.fmn import fmn
from retemper.errors import SettingError
from retemper.models import logits
from retemper.threats import L2, NORMS, Linf, Threat, per_image


def distances(model: nn.Module, moved: Tensor, inputs: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    return threat.distance(moved, inputs).where(logits(model, moved).argmax(1) != labels, torch.inf)


@pytest.mark.parametrize("norm", NORMS)
def test_the_share_within_a_radius_is_that_of_apgd(digits: tuple[nn.Module, Tensor, Tensor], norm: str) -> None:
    model, inputs, labels = digits
    inputs, labels = inputs[:100], labels[:100]
    reached = distances(model, fmn(model, inputs, labels, NORMS[norm](1e-3)), inputs, labels, NORMS[norm](1e-3))
    # By bisection, the radius at which APGD on the same loss makes half of the images fall.
    low, high = 0.0, 2 * float(reached.median())
    for _ in range(7):
        middle = (low + high) / 2
        moved = apgd(model, inputs, labels, NORMS[norm](middle), steps=30, loss="margin")
        if int((logits(model, moved).argmax(1) != labels).sum()) >= 50:
            high = middle
        else:
            low = middle
    assert float(reached.median()) == pytest.approx(high, rel=0.04)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.6)], ids=str)
def test_starts_are_brought_closer(digits: tuple[nn.Module, Tensor, Tensor], threat: Threat) -> None:
    model, inputs, labels = digits
    inputs, labels = inputs[:60], labels[:60]
    starts = apgd(model, inputs, labels, threat, steps=30)
    before = distances(model, starts, inputs, labels, threat)
    after = distances(model, fmn(model, inputs, labels, threat, steps=30, starts=starts), inputs, labels, threat)
    fallen = before.isfinite()
    assert 5 < int(fallen.sum()) < 55
    assert (after <= before).all()
    assert (after < 0.99 * before)[fallen].float().mean() > 0.7
    assert after.isfinite().float().mean() > 0.95


def test_starts_of_another_class_are_brought_closer_though_far_off() -> None:
    weight = torch.eye(2, 6, dtype=torch.float64)
    model = nn.Linear(6, 2, bias=False, dtype=torch.float64)
    model.weight.data = weight
    inputs = torch.zeros(1, 6, dtype=torch.float64).index_fill(1, torch.tensor([0]), 0.5)
    start = torch.ones_like(inputs).index_fill(1, torch.tensor([0]), 0.0)
    moved = fmn(model, inputs, torch.tensor([0]), L2(1), steps=3, starts=start)
    # On the line the answers change at a share of a third: much closer than the start, which three steps keep.
    assert float(L2(1).distance(moved, inputs)) <= float(L2(1).distance(start, inputs)) / 3 * 1.01


def plain(image: Tensor, model: nn.Module, label: int, steps: int) -> Tensor:
    """The paper's algorithm for one image in L2, with one of two classes, inside wide bounds."""
    move, radius, best = torch.zeros_like(image), 0.0, None
    for step in range(steps + 1):
        leaf = (image + move).requires_grad_()
        outputs = model(leaf)[0]
        loss = outputs[1 - label] - outputs[label]
        (gradient,) = torch.autograd.grad(loss, leaf)
        size = float(move.norm())
        if loss > 0 and (best is None or size < best.norm()):
            best = move
        if step == steps:
            break
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        change, length = 0.001 + (0.05 - 0.001) * cosine, 1 * (0.01 + 0.99 * cosine)
        if loss > 0:
            assert best is not None
            radius = min(radius * (1 - change), float(best.norm()))
        elif best is None:
            radius = max(radius * (1 + change), size + abs(loss.item()) / float(gradient.norm()))
        else:
            radius = radius * (1 + change)
        move = move + length * gradient / gradient.norm()
        move = move * min(1.0, radius / float(move.norm()))
    assert best is not None
    return image + best


def test_a_run_is_that_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    inputs = torch.randn(12, 5, dtype=torch.float64)
    labels = model(inputs).argmax(1)
    ours = fmn(model, inputs, labels, L2(0.1, (-50.0, 50.0)), steps=40, step_size=1.0)
    checked = 0
    for image, label, moved in zip(inputs, labels.tolist(), ours, strict=True):
        if torch.equal(moved, image):
            continue
        # The distances, not the points: several at the very same distance may be found, apart by a rounding.
        expected = plain(image[None], model, label, 40)[0]
        torch.testing.assert_close((moved - image).norm(), (expected - image).norm(), rtol=0, atol=1e-8)
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("step_size", [0.0, -1.0, math.nan, math.inf])
def test_a_step_size_must_be_above_zero_and_finite(step_size: float) -> None:
    with pytest.raises(SettingError, match="step_size"):
        fmn(nn.Linear(3, 2), torch.rand(2, 3), torch.tensor([0, 1]), Linf(0.1), step_size=step_size)


def test_unbounded_inputs_need_a_step_size() -> None:
    threat = Linf(0.1, (-math.inf, math.inf))
    with pytest.raises(SettingError, match="step_size"):
        fmn(nn.Linear(3, 2), torch.rand(2, 3), torch.tensor([0, 1]), threat)


def test_clamping_does_not_keep_the_ball_from_growing() -> None:
    """Half of the slope points out of the bounds: a radius reckoned from the clamped point alone falls short."""
    model = nn.Linear(8, 2, bias=True, dtype=torch.float64)
    model.weight.data = torch.tensor([[0.0] * 8, [3.0] * 6 + [1.0] * 2], dtype=torch.float64)
    model.bias.data = torch.tensor([0.0, -18.0 - 1.0], dtype=torch.float64)
    inputs = torch.tensor([[1.0] * 6 + [0.0] * 2], dtype=torch.float64)
    moved = fmn(model, inputs, torch.tensor([0]), L2(1))
    shortest = per_image(torch.tensor([math.sqrt(0.5)]), moved[:, 0])
    assert float(L2(1).distance(moved, inputs)) == pytest.approx(float(shortest), rel=0.01)
