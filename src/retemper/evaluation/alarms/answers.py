"""Answers: views of a model that attacks can follow, chosen by the alarms that ring."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend
from retemper.attacks.losses import cross_entropy
from retemper.errors import ModelError
from retemper.evaluation.alarms.alarm import Alarm
from retemper.evaluation.randomised import Expectation
from retemper.evaluation.views import BeforeSoftmax, Double, Estimated, Rescaled, StraightThrough
from retemper.threats import Threat

SATURATED = {"saturated logits", "zero gradients"}
MASKED = {
    "zero gradients",
    "detached or non-differentiable parts",
    "black-box beats white-box",
    "unbounded attack fails",
    "loss not rising",
}
ROUGH = {"more budget helps", "one step beats many"}
RESTARTS = 5


@dataclass(frozen=True)
class Answer:
    """A view of the model, and why it is asked for.

    Attributes:
        name: what reports call it.
        view: gives the model's own answers, with other gradients.
        why: the alarms that ring and that it may silence.
        precision: of the inputs that the view is attacked with; None leaves them as they are.
        restarts: how often the attack on it begins anew.
        losses: that are climbed in turn.
        images: that the alarms are sounded on again, along the view.
    """

    name: str
    view: nn.Module
    why: tuple[str, ...] = ()
    precision: torch.dtype | None = None
    restarts: int = 1
    losses: tuple[str, ...] = ("ce", "margin")
    images: int = 32


def answers(
    model: nn.Module,
    alarms: Iterable[Alarm],
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
) -> list[Answer]:
    """The views that fit what rings, the cheapest first; those that do not run or tell no new gradient are left out.

    Args:
        model: in evaluation mode.
        alarms: from `sound`; those that are quiet ask for nothing.
        inputs: a few, on which the views are tried.
        labels: one an input.
        threat: for estimated gradients.
    """
    ringing = {alarm.name for alarm in alarms if alarm.rings}
    random = "random answers" in ringing
    base: nn.Module = BeforeSoftmax(model) if "probabilities instead of logits" in ringing else model

    def averaged(view: nn.Module) -> nn.Module:
        return Expectation(view) if random else view

    fitting: list[tuple[set[str], Callable[[], Answer]]] = [
        # Rescaled as well: who hands out probabilities is often confident.
        (
            {"probabilities instead of logits"},
            lambda: Answer("logits before the softmax", Rescaled(averaged(base), inputs)),
        ),
        ({"random answers"}, lambda: Answer("expectation over randomness", averaged(base))),
        (SATURATED, lambda: Answer("rescaled logits", Rescaled(averaged(base), inputs))),
        (SATURATED, lambda: Answer("float64", Double(averaged(base)), precision=torch.float64)),
        (MASKED, lambda: Answer("straight-through gradients", averaged(StraightThrough(base)))),
        (ROUGH, lambda: Answer("more restarts", averaged(base), restarts=RESTARTS)),
        (MASKED, lambda: Answer("finite differences", Estimated(base, threat), losses=("ce",), images=16)),
    ]
    chosen: list[Answer] = []
    known = [] if (gradient := _gradient(model, inputs, labels)) is None else [gradient]
    for silences, make in fitting:
        why = tuple(sorted(ringing & silences))
        if why:
            try:
                answer = make()
            except ModelError:  # a model that cannot be copied
                continue
            gradient = _gradient(answer.view, inputs.to(answer.precision), labels)
            # A view with the same gradients as another is no answer of its own, unless it is more work.
            seen = any(gradient is not None and torch.equal(gradient, other) for other in known)
            if gradient is not None and gradient.any() and (answer.restarts > 1 or not seen):
                chosen.append(replace(answer, why=why))
                known.append(gradient)
    return chosen


def _gradient(view: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor | None:
    """What an attack would follow; None where the view does not run or cannot be differentiated."""
    try:
        return ascend(view, inputs, labels, cross_entropy).gradient
    except (ModelError, RuntimeError, TypeError):  # a step passed through may meet what takes no gradient
        return None
