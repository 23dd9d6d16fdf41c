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
from retemper.objectives.one_of import OneOf

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
        OneOf,
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
    spec = []
    for weight, term in objective.terms:
        fields = _fields(term.warmed)
        if fields is None:
            return None
        spec.append({"weight": weight, "term": term.name} | fields)
    return spec


def from_spec(spec: Sequence[Mapping[str, Any]]) -> WeightedSum:
    """The objective that `as_spec` described.

    Raises:
        SettingError: it describes none.
    """
    try:
        return WeightedSum(tuple((float(entry["weight"]), _term(entry)) for entry in spec))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingError(f"Expected terms as `as_spec` describes them, but got {spec!r}: {error}") from error


def _fields(term: Term) -> dict[str, Any] | None:
    """The arguments that make the term again; None for what is not in `TERMS`, or not to be held by JSON."""
    if type(term) is OneOf:
        terms = [_alternative(each) for each in term.terms]
        return None if None in terms else {"terms": terms}
    fields: dict[str, Any] = asdict(term) if is_dataclass(term) else {}
    return fields if type(term) is TERMS.get(term.name) and _is_plain(fields) else None


def _term(entry: Mapping[str, Any]) -> Term:
    fields = {key: value for key, value in entry.items() if key not in ("weight", "term")}
    if entry["term"] == OneOf.name:
        fields["terms"] = tuple(_alternative_of(each) for each in fields["terms"])
    made: Term = TERMS[entry["term"]](**fields)
    return made


def _alternative(alternative: Term | WeightedSum) -> Mapping[str, Any] | list[dict[str, Any]] | None:
    """A term as one entry, a sum as a list of them."""
    spec = as_spec(alternative)
    return spec[0] if spec is not None and isinstance(alternative, Term) else spec


def _alternative_of(entry: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Term | WeightedSum:
    return _term(entry) if isinstance(entry, Mapping) else from_spec(entry)


def _is_plain(value: Any) -> bool:
    """Whether JSON holds it: layers chosen by type are no text."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, str | int | float | bool)
