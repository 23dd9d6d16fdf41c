"""An objective as plain data, so that a weights file can say what a model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from retemper.errors import SettingError
from retemper.objectives.activation_entropy import ActivationEntropy
from retemper.objectives.adversarial_training import AdversarialTraining
from retemper.objectives.base import Objective, Term, WeightedSum
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.objectives.curvature import Curvature
from retemper.objectives.differential import Differential
from retemper.objectives.guided_complement_entropy import GuidedComplementEntropy
from retemper.objectives.hsic_bottleneck import HSICBottleneck
from retemper.objectives.input_gradient import InputGradient
from retemper.objectives.interval_bounds import IntervalBounds
from retemper.objectives.jacobian import Jacobian
from retemper.objectives.label_smoothing import LabelSmoothing
from retemper.objectives.linearised_loss import LinearisedLoss
from retemper.objectives.logit_squeezing import LogitSqueezing
from retemper.objectives.mimic import Mimic

TERMS: dict[str, Any] = {
    term.name: term
    for term in (
        ActivationEntropy,
        CrossEntropy,
        Curvature,
        Differential,
        GuidedComplementEntropy,
        HSICBottleneck,
        InputGradient,
        IntervalBounds,
        Jacobian,
        LabelSmoothing,
        LinearisedLoss,
        LogitSqueezing,
        Mimic,
    )
}


def as_spec(objective: Objective) -> list[dict[str, Any]] | None:
    """The terms of an objective with their weights, as JSON holds them; None for an objective of unknown terms.

    Of adversarial training, the terms of what it wraps (of `TRADES`, cross-entropy), and of `WarmUp`, the term: what an
    attack that knows the training may climb, as it was at the end.

    >>> as_spec(CrossEntropy() + 0.5 * InputGradient(norm="l1", squared=False))[1]
    {'weight': 0.5, 'term': 'input-gradient', 'of': 'scores', 'norm': 'l1', 'squared': False, 'step': None, 'every': 1}
    """
    if isinstance(objective, AdversarialTraining):
        return as_spec(objective.objective)
    if isinstance(objective, Term):
        objective = WeightedSum(((1.0, objective),))
    if not isinstance(objective, WeightedSum):
        return None
    terms = [(weight, term.warmed) for weight, term in objective.terms]
    spec = [{"weight": weight, "term": term.name} | _fields(term) for weight, term in terms]
    known = all(type(term) is TERMS.get(term.name) and _is_plain(_fields(term)) for _, term in terms)
    return spec if known else None


def from_spec(spec: Sequence[Mapping[str, Any]]) -> WeightedSum:
    """The objective that `as_spec` described.

    Raises:
        SettingError: it describes none.
    """
    try:
        return WeightedSum(
            tuple(
                (
                    float(entry["weight"]),
                    TERMS[entry["term"]](**{key: entry[key] for key in entry if key not in ("weight", "term")}),
                )
                for entry in spec
            )
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(f"Expected terms as `as_spec` describes them, but got {spec!r}: {error}") from error


def _fields(term: Any) -> dict[str, Any]:
    return asdict(term) if is_dataclass(term) and not isinstance(term, type) else {}


def _is_plain(value: Any) -> bool:
    """Whether JSON holds it: layers chosen by type are no text."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, str | int | float | bool)
