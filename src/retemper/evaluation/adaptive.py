"""Attacks that know the training: the terms of an objective, for an attack to climb along with its loss."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import Extra
from retemper.errors import SettingError
from retemper.objectives import (
    AdversarialTraining,
    CrossEntropy,
    Differential,
    ForwardPass,
    GuidedComplementEntropy,
    IntervalBounds,
    LabelSmoothing,
    Objective,
    Term,
    WeightedSum,
)

CLASSIFYING = CrossEntropy | Differential | GuidedComplementEntropy | IntervalBounds | LabelSmoothing
"""What makes a network answer right: an attack has a loss of its own in its place."""


def adaptive(objective: Objective, weight: float = 1.0) -> Extra | None:
    """What an attack adds to its loss in order to follow the objective's own terms; None where there are none.

    All terms count but cross-entropy and its like, in place of which an attack has a loss of its own
    (Tramèr et al. 2020, 2002.08347: an attack should go after all that the defence adds). Terms are means over
    images, so that their sum has for each image the gradient of its own term, whatever its neighbours; those
    over a whole batch (the "unit" entropy, say) mix the images.

    Args:
        objective: what the model was trained on; of adversarial training, what it wraps.
        weight: times the terms' own weights. The attack climbs `loss + weight * terms`: above zero it looks where
            the terms are large, below zero where they are as small as training made them. Try both.

    Raises:
        SettingError: an objective whose terms are not known.
    """
    terms = [(share, term) for share, term in _terms(objective) if not isinstance(term, CLASSIFYING)]
    if not terms:
        return None
    layers = [term.recorded_layers for _, term in terms if term.recorded_layers is not None]
    differentiable = any(term.differentiates_inputs for _, term in terms)

    def extra(
        model: nn.Module, candidates: Float[Tensor, "images *shape"], labels: Int[Tensor, " images"]
    ) -> tuple[Float[Tensor, "images classes"], Float[Tensor, ""]]:
        forward = ForwardPass(model, candidates, labels, layers, differentiable_inputs=differentiable)
        values = torch.stack([share * term.value(forward) for share, term in terms])
        return forward.logits, weight * len(candidates) * values.sum()

    return extra


def _terms(objective: Objective) -> tuple[tuple[float, Term], ...]:
    match objective:
        case AdversarialTraining():
            return _terms(objective.objective)
        case WeightedSum():
            return tuple((weight, term.warmed) for weight, term in objective.terms)
        case Term():
            return ((1.0, objective.warmed),)
    raise SettingError(
        f"Expected a term, a sum of terms or adversarial training around one, whose terms an attack can climb, but got "
        f"{objective!r}."
    )
