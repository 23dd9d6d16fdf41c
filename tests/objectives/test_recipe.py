import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.objectives import LinearisedLoss, OneOf, as_spec, from_spec, recipe
from retemper.objectives.recipe import STEP, WARM_UP
from retemper.threats import L2, Linf, Threat

THREATS = [Linf(8 / 255), L2(0.5)]


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.SiLU(), nn.Linear(8, 3)).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    inputs = torch.rand(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return inputs, torch.arange(7) % 3


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_it_is_the_linearised_loss_of_a_share_of_the_radius(
    network: nn.Module, batch: tuple[Tensor, Tensor], threat: Threat, weight: float
) -> None:
    radius = weight * threat.radius
    expected = LinearisedLoss(threat.dual, radius, step=radius / 4)
    torch.testing.assert_close(recipe(threat, weight)(network, *batch), expected(network, *batch))


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.3)], ids=str)
def test_of_a_linear_network_for_two_classes_it_is_the_worst_loss_within_the_threat(threat: Threat) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = nn.Linear(6, 2).double()
        inputs = torch.rand(9, 6, dtype=torch.float64)
    labels = torch.arange(9) % 2
    difference = linear.weight[1] - linear.weight[0]
    slope = difference.norm(p=1 if threat.norm == "linf" else 2)
    scores = linear(inputs)
    margins = (2 * labels - 1) * (scores[:, 1] - scores[:, 0])
    worst = F.softplus(-(margins - threat.radius * slope)).mean()
    torch.testing.assert_close(recipe(threat)(linear, inputs, labels), worst)


def test_of_several_threats_each_step_meets_one() -> None:
    assert recipe(THREATS, 0.5) == OneOf(tuple(recipe(threat, 0.5) for threat in THREATS))
    assert recipe(THREATS[:1]) == recipe(THREATS[0])
    with pytest.raises(SettingError, match="at least one threat"):
        recipe([])


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.5 * WARM_UP, 0.5), (WARM_UP, 1.0), (1.0, 1.0)])
def test_the_radius_grows_from_nothing(
    network: nn.Module, batch: tuple[Tensor, Tensor], progress: float, share: float
) -> None:
    threat = THREATS[0]
    found = recipe(threat).compute(network, *batch, progress=progress).total
    if share == 0:
        expected = F.cross_entropy(network(batch[0]), batch[1])
    else:
        expected = LinearisedLoss("l1", share * threat.radius, step=STEP * threat.radius)(network, *batch)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_no_input_moves_by_more_than_the_step(network: nn.Module, batch: tuple[Tensor, Tensor], threat: Threat) -> None:
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    recipe(threat)(network, *batch).backward()
    assert torch.equal(seen[0], batch[0])
    far = torch.stack([threat.distance(inputs, batch[0]) for inputs in seen]).amax()
    assert float(far) == pytest.approx(STEP * threat.radius)


def test_attacks_can_follow_it(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    spec = as_spec(recipe(THREATS[0], 0.5))
    assert spec is not None
    assert [entry["term"] for entry in spec] == ["linearised-loss"]
    extra = adaptive(from_spec(spec))
    assert extra is not None
    _, climbed = extra(network, *batch)
    torch.testing.assert_close(climbed / 7, recipe(THREATS[0], 0.5)(network, *batch))


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_is_no_finite_number_above_0_is_refused(weight: float) -> None:
    with pytest.raises(SettingError, match=f"finite number above 0, but got {weight}"):
        recipe(Linf(0.1), weight)
