import pytest
import torch
from torch import Tensor, nn

from retemper.attacks.deepfool import deepfool
from retemper.errors import SettingError
from retemper.models import logits
from retemper.threats import NORMS


def plain(model: nn.Module, image: Tensor, label: int, norm: str, steps: int, candidates: int) -> Tensor:
    """Algorithm 2 of the paper for one image, overshooting at every step as the authors' code does."""
    order = [k for k in model(image[None])[0].argsort(descending=True).tolist() if k != label][:candidates]
    way, point = torch.zeros_like(image), image
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        outputs = model(leaf[None])[0]
        if int(outputs.argmax()) != label:
            return point
        best = None
        for k in order:
            gap = outputs[k] - outputs[label]
            (slope,) = torch.autograd.grad(gap, leaf, retain_graph=True)
            size = float(slope.abs().sum() if norm == "linf" else slope.norm())
            step = abs(gap.item()) / size * (slope.sign() if norm == "linf" else slope / size)
            if best is None or abs(gap.item()) / size < best[0]:
                best = (abs(gap.item()) / size, step)
        assert best is not None
        way = way + best[1]
        point = image + 1.02 * way
    return point if int(model(point[None]).argmax()) != label else image


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("candidates", [1, 2, 10])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_a_run_is_that_of_a_plain_loop(norm: str, candidates: int, steps: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 5)).double()
    model[0].weight.data *= 4
    inputs = torch.rand(30, 6, dtype=torch.float64)
    labels = model(inputs).argmax(1)
    moved = deepfool(model, inputs, labels, NORMS[norm](0.1, (-99.0, 99.0)), steps=steps, candidates=candidates)
    for image, label, ours in zip(inputs, labels.tolist(), moved, strict=True):
        torch.testing.assert_close(ours, plain(model, image, label, norm, steps, candidates), rtol=0, atol=1e-9)
    assert (logits(model, moved).argmax(1) != labels).any()


@pytest.mark.parametrize("norm", NORMS)
def test_at_the_bounds_the_other_coordinates_go_on(norm: str) -> None:
    model = nn.Linear(8, 2, dtype=torch.float64)
    model.weight.data = torch.tensor([[0.0] * 8, [9.0] * 6 + [1.0] * 2], dtype=torch.float64)
    model.bias.data = torch.tensor([0.0, -55.0], dtype=torch.float64)
    inputs = torch.tensor([[1.0] * 6 + [0.0] * 2], dtype=torch.float64)  # only the two small weights can help
    threat = NORMS[norm](0.1)
    moved = deepfool(model, inputs, torch.tensor([0]), threat)
    expected = 1.02 * 0.5 * (1 if norm == "linf" else 2**0.5)
    assert float(threat.distance(moved, inputs)) == pytest.approx(expected)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_model_is_crossed_by_the_overshoot(norm: str) -> None:
    model = nn.Linear(3, 2, dtype=torch.float64)
    model.weight.data = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    model.bias.data = torch.tensor([1.0, 0.0], dtype=torch.float64)
    inputs = torch.full((1, 3), 0.5, dtype=torch.float64)
    threat = NORMS[norm](0.1)
    moved = deepfool(model, inputs, torch.tensor([0]), threat, steps=1, overshoot=0.1)
    expected = 1.1 * 0.5 / (7 if norm == "linf" else 5)
    assert float(threat.distance(moved, inputs)) == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"overshoot": 0.0}, {"overshoot": float("nan")}, {"candidates": 0}])
def test_settings_out_of_range_are_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(change))):
        deepfool(nn.Linear(3, 2), torch.rand(2, 3), torch.tensor([0, 1]), NORMS["linf"](0.1), **change)
