import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.objectives import as_spec, from_spec, recipe
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
def test_it_is_the_mean_loss_plus_radius_times_the_mean_slope(
    network: nn.Module, batch: tuple[Tensor, Tensor], threat: Threat, weight: float
) -> None:
    step = STEP * threat.radius
    expected = 0.0
    for image, label in zip(*batch, strict=True):
        image.requires_grad_(True)
        loss = F.cross_entropy(network(image), label)
        (gradient,) = torch.autograd.grad(loss, image)
        direction = gradient.sign() if threat.norm == "linf" else gradient / gradient.norm()
        further = F.cross_entropy(network(image + step * direction), label)
        expected += (loss + weight * threat.radius * (further - loss) / step).item() / 7
    assert recipe(threat, weight)(network, *batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("threat", [Linf(1e-3), L2(1e-3)], ids=str)
def test_at_weight_1_it_is_the_worst_loss_within_the_threat_to_first_order(threat: Threat) -> None:
    """Of a linear network for two classes: there the worst loss has a closed form."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = nn.Linear(6, 2).double()
        inputs = torch.rand(9, 6, dtype=torch.float64)
    labels = torch.arange(9) % 2
    difference = linear.weight[1] - linear.weight[0]
    slope = difference.norm(p=1 if threat.norm == "linf" else 2)
    scores = linear(inputs)
    margins = (2 * labels - 1) * (scores[:, 1] - scores[:, 0])
    worst = F.softplus(-(margins - threat.radius * slope)).mean().item()
    plain = F.cross_entropy(scores, labels).item()
    found = recipe(threat)(linear, inputs, labels).item()
    assert abs(found - worst) < 1e-3 * (worst - plain)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.5 * WARM_UP, 0.5), (WARM_UP, 1.0), (1.0, 1.0)])
def test_the_slope_comes_in_slowly(
    network: nn.Module, batch: tuple[Tensor, Tensor], progress: float, share: float
) -> None:
    objective = recipe(THREATS[0])
    whole = objective.compute(network, *batch).parts
    now = objective.compute(network, *batch, progress=progress).parts
    torch.testing.assert_close(now["cross-entropy"], whole["cross-entropy"])
    torch.testing.assert_close(now["input-gradient"], share * whole["input-gradient"])


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
    assert [entry["term"] for entry in spec] == ["cross-entropy", "input-gradient"]
    extra = adaptive(from_spec(spec))
    assert extra is not None
    _, climbed = extra(network, *batch)
    slopes = recipe(THREATS[0], 0.5).compute(network, *batch).parts["input-gradient"]
    torch.testing.assert_close(climbed / 7, slopes)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_is_no_finite_number_above_0_is_refused(weight: float) -> None:
    with pytest.raises(SettingError, match=f"finite number above 0, but got {weight}"):
        recipe(Linf(0.1), weight)
