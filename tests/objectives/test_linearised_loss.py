import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives import CrossEntropy, Differential, InputGradient, LinearisedLoss, as_spec, from_spec
from retemper.threats import L2, Linf

Norm = Literal["l1", "l2"]
Network = Callable[[int], nn.Sequential]
Batch = Callable[[int], tuple[Tensor, Tensor]]


def logits_ahead(model: nn.Module, image: Tensor, label: int, norm: Norm, radius: float, step: float) -> list[float]:
    """Of one image with a graph of its own, in plain numbers."""
    image = image.clone().requires_grad_()
    here = model(image[None])[0]
    if len(here) == 1:
        here = torch.stack([torch.zeros_like(here[0]), here[0]])
    (here.logsumexp(0) - here[label]).backward()
    assert image.grad is not None
    gradient = image.grad.tolist()
    size = math.sqrt(sum(value**2 for value in gradient))
    direction = [math.copysign(1, value) if norm == "l1" else value / size for value in gradient]
    moved = [value + step * part for value, part in zip(image.tolist(), direction, strict=True)]
    there = model(torch.tensor([moved], dtype=image.dtype))[0]
    if len(there) == 1:
        there = torch.stack([torch.zeros_like(there[0]), there[0]])
    return [a + radius * (b - a) / step for a, b in zip(here.tolist(), there.tolist(), strict=True)]


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize(("radius", "step"), [(0.4, 0.1), (0.1, 0.1), (0.1, 0.3)])
def test_it_is_the_mean_cross_entropy_at_the_logits_drawn_out(
    outputs: int, norm: Norm, radius: float, step: float, network: Network, batch: Batch
) -> None:
    model, (inputs, labels) = network(outputs), batch(max(outputs, 2))
    losses = []
    for image, label in zip(inputs, labels.tolist(), strict=True):
        ahead = logits_ahead(model, image, label, norm, radius, step)
        losses.append(math.log(sum(math.exp(value) for value in ahead)) - ahead[label])
    found = LinearisedLoss(norm, radius, step)(model, inputs, labels).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_pairs_are_taken_of_the_logits_drawn_out(norm: Norm, network: Network, batch: Batch) -> None:
    model, (inputs, labels) = network(3), batch(3)
    ahead = [
        logits_ahead(model, image, label, norm, 0.4, 0.1) for image, label in zip(inputs, labels.tolist(), strict=True)
    ]
    losses = [
        math.log1p(math.exp(-((ahead[i][a] - ahead[i][b]) - (ahead[j][a] - ahead[j][b]))))
        for i, a in enumerate(labels.tolist())
        for j, b in enumerate(labels.tolist())
        if a != b
    ]
    found = LinearisedLoss(norm, 0.4, 0.1, loss="differential")(model, inputs, labels).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-9)


@given(radius=st.floats(0.1, 3), step=st.floats(1e-4, 0.1), norm=st.sampled_from(["l1", "l2"]), seed=st.integers(0, 99))
def test_it_is_never_less_than_the_loss_and_radius_times_its_slope(
    radius: float, step: float, norm: Norm, seed: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
        inputs, labels = 3 * torch.rand(4, 5, dtype=torch.float64), torch.randint(3, (4,))
    bound = CrossEntropy() + radius * InputGradient("loss", norm, squared=False, step=step)
    found, least = LinearisedLoss(norm, radius, step)(model, inputs, labels), bound(model, inputs, labels)
    assert found >= least - 1e-9 * (1 + least.abs())


@pytest.mark.parametrize("threat", [Linf(1e-4), L2(1e-4)])
def test_of_a_small_radius_it_is_the_worst_loss_to_first_order(
    threat: Linf | L2, network: Network, batch: Batch
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    images = inputs.clone().requires_grad_()
    plain = F.cross_entropy(model(images), labels)
    (gradient,) = torch.autograd.grad(plain, images)
    worst = F.cross_entropy(model(inputs + threat.radius * threat.steepest(gradient)), labels)
    found = LinearisedLoss(threat.dual, threat.radius, threat.radius / 4)(model, inputs, labels)
    assert (found - worst).abs() < 1e-3 * (worst - plain)


def test_its_gradient_reaches_the_weights_through_both_passes() -> None:
    """Of a linear network the direction alone hangs on the weights, and is held constant."""
    linear = nn.Linear(3, 2, bias=False).double()
    inputs, labels = torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    LinearisedLoss("l1", 0.4, 0.1)(linear, inputs, labels).backward()
    found = linear.weight.grad
    with torch.no_grad():
        towards = (linear.weight[1 - labels] - linear.weight[labels]).sign()
    (expected,) = torch.autograd.grad(F.cross_entropy(linear(inputs + 0.4 * towards), labels), linear.weight)
    torch.testing.assert_close(found, expected)


def test_where_the_loss_is_flat_it_is_the_loss() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-10.0)
    inputs, labels = torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    found = LinearisedLoss("l1", 0.4, 0.1)(model, inputs, labels)
    assert torch.equal(found, CrossEntropy()(model, inputs, labels))


def test_maps_are_moved_as_a_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    inputs, labels = torch.rand(5, 2, 4, 4, dtype=torch.float64), torch.arange(5) % 3
    flat = nn.Sequential(nn.Unflatten(1, (2, 4, 4)), model)
    of_maps = LinearisedLoss("l2", 0.4, 0.1)(model, inputs, labels)
    torch.testing.assert_close(of_maps, LinearisedLoss("l2", 0.4, 0.1)(flat, inputs.flatten(1), labels))


def test_dropout_draws_the_same_in_both_passes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 64), nn.Dropout(0.5), nn.Linear(64, 3)).double()
    inputs, labels = torch.rand(8, 5, dtype=torch.float64), torch.arange(8) % 3
    values = []
    for step in (1e-6, 0.1):
        torch.manual_seed(1)
        values.append(LinearisedLoss("l2", 0.4, step)(model, inputs, labels).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)  # linear for any draw; with others a step of 1e-6 explodes


def test_running_statistics_see_the_images_alone() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    inputs, labels = torch.rand(8, 5), torch.arange(8) % 3
    LinearisedLoss("l1", 0.4, 0.1)(model, inputs, labels)
    assert model[1].num_batches_tracked == 1
    seen = 0.1 * model[0](inputs).mean(0)
    torch.testing.assert_close(model[1].running_mean, seen.detach())


def test_the_radius_grows_over_its_share_of_the_training(network: Network, batch: Batch) -> None:
    model, (inputs, labels) = network(3), batch(3)
    growing = LinearisedLoss("l2", 0.4, 0.1, warmup=0.2)
    for progress, radius in ((0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.9, 0.4)):
        found = growing.compute(model, inputs, labels, progress=progress).total
        torch.testing.assert_close(found, LinearisedLoss("l2", radius, 0.1)(model, inputs, labels))
    assert growing.compute(model, inputs, labels, progress=0.0).total == CrossEntropy()(model, inputs, labels)


def test_it_comes_back_from_its_spec_with_all_of_its_radius() -> None:
    spec = as_spec(2 * LinearisedLoss("l2", 0.4, 0.1, warmup=0.2, loss="differential"))
    assert spec is not None
    assert from_spec(spec).terms == ((2.0, LinearisedLoss("l2", 0.4, 0.1, loss="differential")),)


def test_the_pair_loss_leaves_biases_to_be_set(digits: Split) -> None:
    def settled(objective: LinearisedLoss | Differential | CrossEntropy) -> Any:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        objective.settle(model, digits)
        return model[1].bias.detach()

    assert torch.equal(settled(LinearisedLoss("l1", 0.4, 0.1)), settled(CrossEntropy()))
    assert torch.equal(settled(LinearisedLoss("l1", 0.4, 0.1, loss="differential")), settled(Differential()))
    assert not torch.equal(settled(Differential()), settled(CrossEntropy()))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"norm": "linf"}, "`norm` to be 'l1' or 'l2', but got 'linf'"),
        ({"loss": "hinge"}, "`loss` to be one of cross-entropy, differential, but got 'hinge'"),
        ({"radius": 0.0}, "`radius` to be a positive finite number, but got 0.0"),
        ({"step": -0.1}, "`step` to be a positive finite number, but got -0.1"),
        ({"step": math.nan}, "`step` to be a positive finite number, but got nan"),
        ({"warmup": 1.5}, "`warmup` to be a share in \\[0, 1\\], but got 1.5"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        LinearisedLoss(**({"norm": "l1", "radius": 0.1, "step": 0.01} | wrong))
