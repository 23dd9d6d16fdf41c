from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.evaluation.alarms import Alarm, answered, answers, sound
from retemper.evaluation.randomised import majority
from retemper.noise import Noise

Wrap = Callable[[Callable[[nn.Module, Tensor], Tensor]], nn.Module]


class Opaque(torch.autograd.Function):
    """Rounding that no view can look into."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return (inputs * 4).round() / 4

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient)


FLAWS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "rounding": (lambda network, inputs: network((inputs * 4).round() / 4), "straight-through gradients"),
    "detached": (lambda network, inputs: network(inputs.detach()), "straight-through gradients"),
    "opaque": (lambda network, inputs: network(Opaque.apply(inputs)), "finite differences"),
    "saturated": (lambda network, inputs: 1e3 * network(inputs), "rescaled logits"),
    "softmax": (lambda network, inputs: F.softmax(30 * network(inputs), dim=1), "logits before the softmax"),
    "noise": (
        lambda network, inputs: network(inputs + 0.2 * torch.randn_like(inputs)),
        "expectation over randomness",
    ),
}


@pytest.mark.parametrize("kind", FLAWS)
def test_the_answer_breaks_what_the_flaw_hid_and_silences_the_alarms(kind: str, digits: Any, wrapped: Wrap) -> None:
    flaw, answer = FLAWS[kind]
    model, noise = wrapped(flaw), Noise.for_batch(digits.inputs)
    standing = majority(model, digits.inputs) == digits.labels
    alarms = sound(model, digits.inputs, digits.labels, standing, digits.threat, noise)
    state = torch.get_rng_state()
    candidates, fallen, after = answered(model, digits.inputs, digits.labels, standing, digits.threat, noise, alarms)
    assert torch.equal(torch.get_rng_state(), state)
    assert [alarm.name for alarm in after] == [alarm.name for alarm in alarms]
    silenced = {alarm.answered_by for alarm in after if alarm.rings and alarm.answered_by}
    assert silenced == {answer}
    # A few estimated directions are little better than those that the probe draws: that alarm may ring on.
    left = {alarm.name for alarm in after if alarm.rings and not alarm.answered_by}
    assert left <= ({"detached or non-differentiable parts"} if kind == "opaque" else set())
    # Every success is one on the model itself, inside the threat; the honest network loses about half.
    assert torch.equal(majority(model, candidates) != digits.labels, fallen | ~standing)
    assert digits.threat.allows(candidates, digits.inputs).all()
    assert torch.equal(candidates[~fallen], digits.inputs[~fallen])
    assert (fallen & standing).sum() == fallen.sum() >= 0.15 * len(fallen)
    again = answered(model, digits.inputs, digits.labels, standing, digits.threat, noise, alarms)
    assert torch.equal(again[0], candidates)
    assert again[2] == after


def test_silence_is_not_answered(digits: Any) -> None:
    noise, standing = Noise.for_batch(digits.inputs), digits.standing(digits.network)
    alarms = tuple(alarm for alarm in digits.sound(digits.network).values() if not alarm.rings)
    candidates, fallen, after = answered(
        digits.network, digits.inputs, digits.labels, standing, digits.threat, noise, alarms
    )
    assert torch.equal(candidates, digits.inputs)
    assert not fallen.any()
    assert after == alarms


def ringing(*names: str) -> list[Alarm]:
    return [Alarm(name, 1.0, 0.5, "", "", "", "") for name in names]


def names(model: nn.Module, digits: Any, *alarms: str) -> list[str]:
    found = answers(model, ringing(*alarms), digits.inputs[:4], digits.labels[:4], digits.threat)
    return [answer.name for answer in found]


def test_views_are_chosen_by_what_rings(digits: Any, wrapped: Wrap) -> None:
    model = digits.network
    assert names(model, digits) == []
    assert names(model, digits, "training mode", "inputs outside the bounds") == []
    assert names(model, digits, "saturated logits") == ["rescaled logits", "float64"]
    # Straight-through gradients of a model without steps are its own: no answer.
    assert names(model, digits, "loss not rising") == ["finite differences"]
    assert names(model, digits, "more budget helps") == ["more restarts"]
    assert names(wrapped(FLAWS["rounding"][0]), digits, "zero gradients") == [
        "straight-through gradients",
        "finite differences",
    ]


def test_quiet_alarms_ask_for_nothing(digits: Any) -> None:
    quiet = Alarm("saturated logits", 0.1, 0.5, "", "", "", "")
    assert answers(digits.network, [quiet], digits.inputs[:4], digits.labels[:4], digits.threat) == []


def test_flaws_together_are_answered_by_views_of_views(digits: Any, wrapped: Wrap) -> None:
    model = wrapped(lambda network, inputs: F.softmax(40 * network((inputs * 6).round() / 6), dim=1))
    noise, standing = Noise.for_batch(digits.inputs), digits.standing(model)
    alarms = sound(model, digits.inputs, digits.labels, standing, digits.threat, noise)
    _, fallen, after = answered(model, digits.inputs, digits.labels, standing, digits.threat, noise, alarms)
    assert fallen.sum() >= 0.2 * len(fallen)
    assert {alarm.answered_by for alarm in after if alarm.rings} == {"straight-through gradients"}
