from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.attacks import apgd
from retemper.errors import SettingError
from retemper.evaluation.alarms import sound
from retemper.noise import Noise
from retemper.threats import L2, Linf

Wrap = Callable[[Callable[[nn.Module, Tensor], Tensor]], nn.Module]

NAMES = {
    "zero gradients",
    "detached or non-differentiable parts",
    "saturated logits",
    "one step beats many",
    "loss not rising",
    "unbounded attack fails",
    "black-box beats white-box",
    "more budget helps",
    "random answers",
    "probabilities instead of logits",
    "training mode",
    "inputs outside the bounds",
}


def without_graph(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


class Rough(torch.autograd.Function):
    """The identity, whose gradient is right at the input itself and noise in every other place."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        context.save_for_backward(inputs)
        return inputs.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (inputs,) = context.saved_tensors
        on_grid = ((inputs * 16).round() / 16 == inputs).flatten(1).all(1)
        return torch.where(on_grid.view(-1, 1, 1, 1), gradient, -gradient)


def rough(network: nn.Module, inputs: Tensor) -> Tensor:
    return network(Rough.apply(inputs))


FLAWS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], set[str]]] = {
    "cut graph": (
        without_graph,
        {"zero gradients", "detached or non-differentiable parts", "loss not rising", "unbounded attack fails"},
    ),
    "rounding": (
        lambda network, inputs: network((inputs * 4).round() / 4),
        {
            "zero gradients",
            "detached or non-differentiable parts",
            "loss not rising",
            "unbounded attack fails",
            "black-box beats white-box",
        },
    ),
    "partly detached": (
        lambda network, inputs: network(inputs.detach() + 1e-3 * (inputs - inputs.detach()).flip(-1)),
        {"detached or non-differentiable parts"},
    ),
    "saturated": (lambda network, inputs: 1e3 * network(inputs), {"saturated logits"}),
    "rough": (rough, {"one step beats many"}),
    "noise": (lambda network, inputs: network(inputs + 0.3 * torch.randn_like(inputs)), {"random answers"}),
    "softmax": (lambda network, inputs: F.softmax(network(inputs), dim=1), {"probabilities instead of logits"}),
    "batch statistics": (
        lambda network, inputs: network(inputs + 0.5 * (0.3 - inputs.mean(0))),
        {"training mode"},
    ),
    "dropout and batch statistics": (
        lambda network, inputs: F.dropout(network(inputs + 0.5 * (0.3 - inputs.mean(0))), 0.1),
        {"training mode", "random answers"},
    ),
}


@pytest.mark.parametrize("kind", FLAWS)
def test_each_flaw_rings(kind: str, digits: Any, wrapped: Wrap) -> None:
    flaw, expected = FLAWS[kind]
    rings = {name for name, alarm in digits.sound(wrapped(flaw)).items() if alarm.rings}
    assert expected <= rings
    assert rings == expected or kind != "saturated"


@pytest.mark.parametrize("threat", [Linf(0.02), Linf(0.1), Linf(0.3), L2(0.5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_honest_network_rings_nothing(threat: Linf | L2, dtype: torch.dtype, digits: Any) -> None:
    network, inputs = digits.network.to(dtype), digits.inputs.to(dtype)
    try:
        noise = Noise.for_batch(inputs)
        standing = network(inputs).argmax(1) == digits.labels
        for number, loss in enumerate(("ce", "margin")):
            found = apgd(network, inputs, digits.labels, threat, noise.at(number), steps=40, restarts=2, loss=loss)
            standing &= network(found).argmax(1) == digits.labels
        alarms = sound(network, inputs, digits.labels, standing, threat, noise)
    finally:
        network.float()
    assert {alarm.name for alarm in alarms} == NAMES
    assert not [alarm for alarm in alarms if alarm.rings]


def test_more_budget_rings_where_the_search_stopped_early(digits: Any) -> None:
    noise = Noise.for_batch(digits.inputs)
    right = digits.network(digits.inputs).argmax(1) == digits.labels
    rings = {
        alarm.name: alarm
        for alarm in sound(digits.network, digits.inputs, digits.labels, right, Linf(0.2), noise)
        if alarm.rings
    }
    assert rings.keys() == {"more budget helps"}
    # The effect is what the accuracy of the whole batch loses.
    whole = rings["more budget helps"].effect
    assert 0.3 < whole <= right.float().mean()
    # Or that of a split, of which these are all that stand and some of what fell.
    settings = {"share": 0.01, "probed": ~right}
    alarms = sound(digits.network, digits.inputs, digits.labels, right, Linf(0.2), noise, **settings)
    assert alarms == ()
    settings["probed"] = right
    of_split = {
        alarm.name: alarm
        for alarm in sound(digits.network, digits.inputs, digits.labels, right, Linf(0.2), noise, **settings)
    }["more budget helps"]
    assert of_split.effect == pytest.approx(whole / float(right.double().mean()) * 0.01)
    assert not of_split.rings


def test_probes_run_on_the_images_that_are_named(digits: Any) -> None:
    seen = []

    class Watched(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs.detach().clone())
            return digits.network(inputs)

    right = digits.network(digits.inputs).argmax(1) == digits.labels
    probed = right & (torch.arange(len(right)) % 3 == 0)
    none = torch.zeros_like(right)
    noise = Noise.for_batch(digits.inputs)
    sound(Watched(), digits.inputs, digits.labels, none, Linf(1e-4), noise, probed=probed)
    # All are asked once for their answers; whatever is moved lies around those that are named.
    moved = torch.cat([batch.float() for batch in seen if len(batch) < len(right)])
    close = torch.cdist(moved.flatten(1), digits.inputs.flatten(1), p=float("inf")).min(1)
    assert set(close.indices[close.values < 2e-4].tolist()) == set(probed.nonzero()[:, 0].tolist())


def test_questions_alone_beat_only_what_gradients_have_not_broken_before(digits: Any, wrapped: Wrap) -> None:
    """Gradients that lead nowhere around the image: the probe's own attack finds what Square does only if told."""
    model = wrapped(lambda network, inputs: network((inputs * 4).round() / 4))
    alone = digits.sound(model)["black-box beats white-box"]
    assert alone.rings
    none = torch.zeros_like(digits.labels, dtype=torch.bool)
    assert digits.sound(model, broken=none)["black-box beats white-box"] == alone
    assert digits.sound(model, broken=~none)["black-box beats white-box"].effect == 0
    few = none.index_fill(0, torch.arange(24), True)
    assert 0 < digits.sound(model, broken=few)["black-box beats white-box"].effect < alone.effect


def test_inputs_that_were_scaled_twice_ring_and_those_outside_are_refused(digits: Any) -> None:
    class Bright(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return digits.network(inputs * 255)

    model, inputs, threat = Bright(), digits.inputs / 255, Linf(0.1 / 255)
    right, noise = model(inputs).argmax(1) == digits.labels, Noise.for_batch(inputs)
    rings = {alarm.name for alarm in sound(model, inputs, digits.labels, right, threat, noise) if alarm.rings}
    assert "inputs outside the bounds" in rings
    with pytest.raises(SettingError, match="within the bounds"):
        sound(model, inputs - 1, digits.labels, right, threat, noise)


def test_a_model_handed_over_in_training_mode_rings_and_evaluation_mode_answers_it(digits: Any) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.2), digits.network)
    model.train()
    for _ in range(50):
        model(digits.inputs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    came = digits.sound(model, was_training=True)["training mode"]
    assert came.rings
    assert came.answered_by == "evaluation mode"
    assert not digits.sound(model)["training mode"].rings
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # A network without such layers is the same in both modes.
    digits.network.eval()
    assert not digits.sound(digits.network, was_training=True)["training mode"].rings
    assert not digits.network.training


@pytest.mark.parametrize("kind", ["noise", "rounding"])
def test_probes_are_reproducible_and_touch_nothing(kind: str, digits: Any, wrapped: Wrap) -> None:
    model, noise = wrapped(FLAWS[kind][0]), Noise.for_batch(digits.inputs)
    right = torch.ones_like(digits.labels, dtype=torch.bool)
    state, inputs = torch.get_rng_state(), digits.inputs.clone()
    first = sound(model, digits.inputs, digits.labels, right, digits.threat, noise, images=16)
    assert sound(model, digits.inputs, digits.labels, right, digits.threat, noise, images=16) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(digits.inputs, inputs)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_a_model_that_cannot_answer_an_image_alone_raises_that_alarm_only(digits: Any, wrapped: Wrap) -> None:
    model = wrapped(lambda network, inputs: F.batch_norm(network(inputs), None, None, training=True))
    noise, standing = Noise.for_batch(digits.inputs), torch.ones_like(digits.labels, dtype=torch.bool)
    (alarm,) = sound(model, digits.inputs, digits.labels, standing, digits.threat, noise)
    assert alarm.name == "training mode"
    assert alarm.rings
    assert "alone" in alarm.evidence


def test_without_a_right_answer_there_is_nothing_to_probe(digits: Any) -> None:
    wrong = (digits.network(digits.inputs).argmax(1) + 1) % 10
    standing = torch.zeros_like(wrong, dtype=torch.bool)
    assert sound(digits.network, digits.inputs, wrong, standing, digits.threat, Noise.for_batch(digits.inputs)) == ()


def test_the_work_is_what_the_docstring_says(digits: Any) -> None:
    passes = {"with gradient": 0, "without": 0}

    class Counted(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            passes["with gradient" if inputs.requires_grad else "without"] += len(inputs)
            return digits.network(inputs)

    # Nothing falls at this radius, so that no image leaves early.
    threat, images = Linf(1e-4), 16
    right = digits.network(digits.inputs).argmax(1) == digits.labels
    sound(Counted(), digits.inputs, digits.labels, right, threat, Noise.for_batch(digits.inputs), images=images)
    assert passes["with gradient"] <= 115 * images
    assert passes["without"] <= 240 * images + 3 * len(right)


def test_two_classes_and_vectors_are_probed_too() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(40, 6, generator=generator)
    model = nn.Linear(6, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -1, 1, -1, 1, -1]]))
        model.bias.zero_()
    labels = (model(inputs)[:, 0] > 0).long()
    standing = model(inputs)[:, 0].abs() > 0.05 * 6  # the closed form at this radius
    alarms = sound(model, inputs, labels, standing, Linf(0.05), Noise.for_batch(inputs))
    assert not [alarm for alarm in alarms if alarm.rings]


class Plateau(nn.Module):
    """Class 1 where the mean lies above one half, through a tanh that is exactly flat in float32, not in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(60.0))

    def forward(self, inputs: Tensor) -> Tensor:
        score = torch.tanh(self.scale * (inputs.flatten(1).mean(1) - 0.5))
        return torch.stack([-score, score], 1)


def test_gradients_that_only_float64_has_ring() -> None:
    inputs = 0.65 + 0.1 * torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels, threat = torch.ones(40, dtype=torch.int64), Linf(0.25)
    alarms = sound(Plateau(), inputs, labels, labels > 0, threat, Noise.for_batch(inputs))
    (alarm,) = (alarm for alarm in alarms if alarm.name == "saturated logits")
    assert alarm.rings
    assert alarm.effect == 1
    assert "in float64, 40" in alarm.evidence
