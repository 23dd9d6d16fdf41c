import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import apgd
from retemper.attacks.ascent import ascend
from retemper.attacks.losses import cross_entropy
from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.information import MEASURES
from retemper.models import logits
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    Curvature,
    Differential,
    HSICBottleneck,
    InputGradient,
    Jacobian,
    LabelSmoothing,
    LinearisedLoss,
    LogitSqueezing,
    Objective,
    PGDTraining,
    WarmUp,
)
from retemper.objectives.base import Loss
from retemper.threats import L2, Linf


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Softplus(), nn.Linear(4, 3)]
        return nn.Sequential(*layers).double().eval()


@pytest.fixture
def batch(network: nn.Module) -> tuple[Tensor, Tensor]:
    inputs = torch.rand(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return inputs, torch.arange(7) % 3


def entropy_of_one(network: nn.Sequential, image: Tensor) -> Tensor:
    """The mean over both nonlinearities of the activation entropy as a share of its largest, by their definition."""
    found = []
    hidden = image
    for layer in network[:-1]:
        hidden = layer(hidden)
        if not isinstance(layer, nn.Linear):
            shares = hidden.abs() / hidden.abs().sum()
            found.append(-(shares * shares.log()).sum() / math.log(len(hidden)))
    return torch.stack(found).mean()


def gradient_of_one(network: nn.Sequential, image: Tensor, label: int) -> Tensor:
    """The squared length of the gradient of z_y - max z_k."""
    scores = network(image)
    others = torch.cat([scores[:label], scores[label + 1 :]])
    (gradient,) = torch.autograd.grad(scores[label] - others.max(), image, create_graph=True)
    return gradient.square().sum()


def test_what_warmed_up_counts_as_it_ended() -> None:
    assert adaptive(CrossEntropy() + WarmUp(LabelSmoothing(0.1), 0.5)) is None
    assert adaptive(WarmUp(CrossEntropy(), 0.5)) is None


@pytest.mark.parametrize("weight", [1.0, -3.0])
def test_the_sum_and_its_gradient_are_those_of_a_loop_over_images(
    weight: float, network: nn.Sequential, batch: tuple[Tensor, Tensor]
) -> None:
    extra = adaptive(CrossEntropy() + 0.5 * ActivationEntropy() + 2 * InputGradient(), weight)
    assert extra is not None
    candidates = batch[0].clone().requires_grad_()
    outputs, also = extra(network, candidates, batch[1])
    torch.testing.assert_close(outputs, network(batch[0]))
    (found,) = torch.autograd.grad(also, candidates)
    total = 0.0
    for place, (image, label) in enumerate(zip(*batch, strict=True)):
        leaf = image.clone().requires_grad_()
        term = 0.5 * entropy_of_one(network, leaf) + 2 * gradient_of_one(network, leaf, int(label))
        (expected,) = torch.autograd.grad(weight * term, leaf)
        torch.testing.assert_close(found[place], expected)
        total += weight * term.item()
    assert also.item() == pytest.approx(total)


SEPARABLE = [
    *[ActivationEntropy(measure=measure) for measure in ("activation", "softmax")],
    *[InputGradient(of, norm, squared) for of in ("loss", "scores") for norm in ("l1", "l2") for squared in (0, 1)],  # type: ignore[arg-type] # literals in a loop
    LogitSqueezing(),
    Jacobian(),
]
# Finite differences take a second pass, of the images moved by a step.
OF_TWO_PASSES = [
    InputGradient("loss", step=0.1),
    InputGradient("scores", "l1", False, 0.1, every=3),
    Curvature(0.3),
    LinearisedLoss("l2", 0.2, step=0.1),
]
OF_A_BATCH = [*[ActivationEntropy(measure=measure) for measure in MEASURES], HSICBottleneck()]


@pytest.mark.parametrize("term", [*SEPARABLE, *OF_TWO_PASSES], ids=repr)
def test_neighbours_do_not_matter_where_terms_are_means_over_images(
    term: Objective, network: nn.Sequential, batch: tuple[Tensor, Tensor]
) -> None:
    extra = adaptive(term)
    together = ascend(network, *batch, cross_entropy, extra)
    without = ascend(network, *batch, cross_entropy)
    assert not torch.allclose(together.gradient, without.gradient)
    assert torch.equal(together.loss, without.loss)
    for place in range(7):
        alone = ascend(network, batch[0][[place]], batch[1][[place]], cross_entropy, extra)
        torch.testing.assert_close(alone.gradient[0], together.gradient[place])


@pytest.mark.parametrize(
    ("term", "count"),
    [*[(term, 1) for term in (*SEPARABLE, *OF_A_BATCH)], *[(term, 2) for term in OF_TWO_PASSES]],
    ids=repr,
)
@pytest.mark.parametrize("sign", [1, -1])
def test_one_forward_pass_a_step_and_the_term_follows_the_sign(
    sign: int, term: Any, count: int, network: nn.Sequential, batch: tuple[Tensor, Tensor]
) -> None:
    passes = []
    handle = network.register_forward_pre_hook(lambda _module, arguments: passes.append(len(arguments[0])))
    labels = logits(network, batch[0]).argmax(1)
    extra = adaptive(CrossEntropy() + term, weight=sign * 1e6)
    passes.clear()
    moved = apgd(network, batch[0], labels, Linf(1e-4), steps=1, step_size=0.5, starts=batch[0], extra=extra)
    assert passes == [7] * (count + 1)
    handle.remove()
    assert moved.shape == batch[0].shape
    rise = ascend(network, batch[0], labels, cross_entropy, extra).gradient
    stepped = batch[0] + 1e-6 * rise / rise.norm()
    values = [term(network, points, labels).item() for points in (batch[0], stepped)]
    assert sign * (values[1] - values[0]) > 0


def test_nothing_is_left_of_an_objective_without_terms_of_its_own() -> None:
    for objective in (
        CrossEntropy(),
        Differential(),
        2 * CrossEntropy() + Differential(),
        PGDTraining(Linf(0.1)),
        PGDTraining(L2(0.1), PGDTraining(Linf(0.1), Differential())),
    ):
        assert adaptive(objective) is None


def test_what_adversarial_training_wraps_counts(network: nn.Sequential, batch: tuple[Tensor, Tensor]) -> None:
    inner = CrossEntropy() + 0.1 * ActivationEntropy()
    found, expected = (
        ascend(network, *batch, cross_entropy, adaptive(objective)).gradient
        for objective in (PGDTraining(Linf(0.1), inner), 0.1 * ActivationEntropy())
    )
    assert torch.equal(found, expected)


def test_an_objective_of_unknown_terms_is_refused() -> None:
    class Own(Objective):
        def compute(self, *arguments: Any, **settings: Any) -> Loss:
            raise NotImplementedError

    with pytest.raises(SettingError, match="Own"):
        adaptive(Own())
