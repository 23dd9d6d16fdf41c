"""FAB against the official implementation, as pyautoattack repackages it, on a trained network."""

import pytest
import torch
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor, nn

from retemper.attacks.fab import fab
from retemper.models import logits
from retemper.threats import NORMS

CASES = [("linf", 0.1, None), ("linf", 0.1, 2), ("l2", 0.55, None), ("l2", 0.55, 2)]


def official(model: nn.Module, inputs: Tensor, labels: Tensor, norm: str, targets: int | None) -> list[Tensor]:
    """What it finds in one run, or in one for each target."""
    attack = FABAttack_PT(model, norm={"linf": "Linf", "l2": "L2"}[norm], n_iter=40)
    if targets is None:
        return [attack.attack_single_run(inputs, labels)]
    found = []
    for rank in range(2, targets + 2):  # the label has the largest logit
        attack.target_class = rank
        found.append(attack.attack_single_run(inputs, labels, is_targeted=True))
    return found


@pytest.mark.parametrize(("norm", "radius", "targets"), CASES)
def test_distances_are_those_of_the_official_attack_or_smaller(
    digits: tuple[nn.Module, Tensor, Tensor], norm: str, radius: float, targets: int | None
) -> None:
    model, inputs, labels = digits
    inputs, labels = inputs[:60], labels[:60]
    threat = NORMS[norm](radius)

    def distances(moved: Tensor) -> Tensor:
        return threat.distance(moved, inputs).where(logits(model, moved).argmax(1) != labels, torch.inf)

    ours = distances(fab(model, inputs, labels, threat, steps=40, targets=targets))
    theirs = torch.stack([distances(moved) for moved in official(model, inputs, labels, norm, targets)]).amin(0)
    assert ours.isfinite().all()
    assert float(ours.median()) <= 1.01 * float(theirs.median())
    assert float(ours.mean()) <= 1.01 * float(theirs.mean())
    inside, inside_theirs = int((ours <= radius).sum()), int((theirs <= radius).sum())
    assert 6 < inside_theirs < 54, "otherwise there is nothing to compare"
    assert inside >= inside_theirs - 1
    fast = distances(fab(model, inputs, labels, threat, steps=40, targets=targets, within=True))
    assert int((fast <= radius * (1 + 1e-6)).sum()) >= inside_theirs - 1


def test_restarts_and_targets_never_make_it_worse(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, labels = digits
    inputs, labels = inputs[:30], labels[:30]
    threat = NORMS["linf"](0.2)
    before = torch.full((30,), torch.inf, dtype=torch.float64)
    for targets, restarts in ((1, 1), (1, 3), (3, 3)):
        moved = fab(model, inputs, labels, threat, steps=10, targets=targets, restarts=restarts)
        now = threat.distance(moved, inputs).where(logits(model, moved).argmax(1) != labels, torch.inf)
        # The final search ends within a thousandth of the distance.
        assert (now <= before * 1.002).all()
        assert bool((now < before * 0.999).any())
        before = now


def test_a_targeted_step_costs_two_forward_passes_and_one_backward_pass() -> None:
    forward, backward = [0], [0]

    class Counted(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs = super().forward(inputs)
            forward[0] += 1
            if outputs.requires_grad:
                outputs.register_hook(lambda _: backward.__setitem__(0, backward[0] + 1))
            return outputs

    torch.manual_seed(0)
    model, inputs = Counted(12, 5), torch.rand(6, 12)
    labels = model(inputs).argmax(1)
    counts = []
    for steps in (10, 20):
        forward[0] = backward[0] = 0
        fab(model, inputs, labels, NORMS["l2"](0.5, (-9.0, 9.0)), steps=steps, targets=1)
        counts.append((forward[0], backward[0]))
    assert (counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]) == (20, 10)


def test_every_iterate_is_that_of_a_plain_loop() -> None:
    """In L2, between two classes, away from the bounds: the paper's algorithm 1 without the final search."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    asked: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, given: asked.append(given[0].detach()[0]))
    steps = 8
    for image in torch.randn(6, 1, 5, dtype=torch.float64):
        label = int(model(image).argmax())
        asked.clear()
        fab(model, image, torch.tensor([label]), NORMS["l2"](0.1, (-99.0, 99.0)), steps=steps)
        ours = asked[2 : 2 + 2 * steps]  # two passes come before; of each step, the plane's and the success check's
        origin, point = image[0], image[0]
        for at_plane, at_check in zip(ours[::2], ours[1::2], strict=True):
            torch.testing.assert_close(at_plane, point, rtol=0, atol=1e-9)
            leaf = point.clone().requires_grad_()
            gap = model[2](torch.tanh(model[0](leaf)))
            gap = gap[1 - label] - gap[label]
            (normal,) = torch.autograd.grad(gap, leaf)
            gap = gap.detach()
            here = -gap / normal.dot(normal) * normal
            there = (normal.dot(point - origin) - gap) / normal.dot(normal) * normal
            bias = min(0.1, float(here.norm() / (here.norm() + there.norm())))
            point = (1 - bias) * (point + 1.05 * here) + bias * (origin + 1.05 * there)
            torch.testing.assert_close(at_check, point, rtol=0, atol=1e-9)
            if int(model(point[None]).argmax()) != label:
                point = origin + 0.9 * (point - origin)
    handle.remove()
