"""The algebra: terms are scaled and added, and their sum is the loss of a batch."""

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.activations import Layers
from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class Loss:
    """The loss of a batch, and what each term put into it, weight included.

    The parts go by the terms' names; a second term of the same name gets a prime.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


class Objective(ABC):
    """What a model is trained on: called with a model and a batch, it returns the loss to go down."""

    def __call__(
        self, model: nn.Module, inputs: Float[Tensor, "images *shape"], labels: Int[Tensor, " images"]
    ) -> Float[Tensor, ""]:
        """The loss of a batch, for anyone's own training loop."""
        return self.compute(model, inputs, labels).total

    @abstractmethod
    def compute(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The loss of a batch with its parts.

        Args:
            model: in training mode, as a rule.
            inputs: a batch in [0, 1].
            labels: integers in [0, classes).
            progress: the share of the training that is done, in [0, 1], for what warms up.
            generator: for what is random, on the inputs' device.
        """

    @property
    def differentiates_inputs(self) -> bool:
        """Whether a gradient by the inputs is part of the loss."""
        return False

    def check(self, model: nn.Module, train: Split) -> None:  # noqa: B027 - most objectives train any model
        """Raise before training what `settle` would raise after it.

        Raises:
            ModelError: the loss leaves open what cannot be set in this model.
        """

    def settle(self, model: nn.Module, train: Split) -> None:  # noqa: B027 - most objectives leave the model as it is
        """Set, after training, what the loss leaves open."""


class Term(Objective):
    """One summand. Subclasses say what they need of the forward pass, so that nothing else is computed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """In histories and specifications."""

    @property
    def warmed(self) -> "Term":
        """The term as it is at the end of a training."""
        return self

    @property
    def spans_processes(self) -> bool:
        """Whether, in training, every process of a group has to compute the term at the same step."""
        return False

    @property
    def recorded_layers(self) -> Layers | None:
        """The layers whose outputs the term reads; None where it reads none."""
        return None

    @abstractmethod
    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The term on one forward pass."""

    def compute(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The loss of a batch with its only part."""
        return WeightedSum(((1.0, self),)).compute(model, inputs, labels, progress=progress, generator=generator)

    def __add__(self, other: "Term | WeightedSum") -> "WeightedSum":
        return WeightedSum(((1.0, self),)) + other

    def __mul__(self, weight: float) -> "WeightedSum":
        return WeightedSum(((weight, self),))

    __rmul__ = __mul__


@dataclass(frozen=True, repr=False)
class WeightedSum(Objective):
    """Terms with weights, computed on one shared forward pass.

    Raises:
        SettingError: a weight is not a finite number.
    """

    terms: tuple[tuple[float, Term], ...]

    def __post_init__(self) -> None:
        for weight, term in self.terms:
            if not math.isfinite(weight):
                raise SettingError(f"Expected the weight of {term!r} to be a finite number, but got {weight}.")

    @property
    def differentiates_inputs(self) -> bool:
        """Whether a term does."""
        return any(term.differentiates_inputs for _, term in self.terms)

    def compute(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The weighted sum over one forward pass, and each term's share of it."""
        differentiable = self.differentiates_inputs
        parts: dict[str, Tensor] = {}
        # An input gradient needs a graph even under no_grad and inference_mode, as in a validation loop.
        alone = differentiable and torch.is_inference_mode_enabled()
        with (
            torch.inference_mode(False) if alone else nullcontext(),
            torch.set_grad_enabled(torch.is_grad_enabled() or differentiable),
        ):
            if alone:
                inputs, labels = inputs.clone(), labels.clone()
            forward = ForwardPass(
                model,
                inputs,
                labels,
                [term.recorded_layers for _, term in self.terms if term.recorded_layers is not None],
                differentiable_inputs=differentiable,
                progress=progress,
            )
            for weight, term in self.terms:
                name = term.name
                while name in parts:
                    name += "'"
                parts[name] = weight * term.value(forward)
        if not torch.is_grad_enabled():
            parts = {name: part.detach() for name, part in parts.items()}
        return Loss(torch.stack(list(parts.values())).sum(), parts)

    def check(self, model: nn.Module, train: Split) -> None:
        """Let every term look at the model."""
        for _, term in self.terms:
            term.check(model, train)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let every term set what it leaves open."""
        for _, term in self.terms:
            term.settle(model, train)

    def __add__(self, other: "Term | WeightedSum") -> "WeightedSum":
        return WeightedSum(self.terms + terms_of(other))

    def __mul__(self, weight: float) -> "WeightedSum":
        return WeightedSum(tuple((weight * own, term) for own, term in self.terms))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return " + ".join(repr(term) if weight == 1 else f"{weight:.12g} * {term!r}" for weight, term in self.terms)


def terms_of(summand: Any) -> tuple[tuple[float, Term], ...]:
    """The terms of a sum, or one term, with their weights.

    Raises:
        SettingError: it is neither.
    """
    if isinstance(summand, WeightedSum):
        return summand.terms
    if isinstance(summand, Term):
        return ((1.0, summand),)
    raise SettingError(
        f"Expected a term or a sum of terms to add, but got {summand!r}. An objective that moves the inputs first "
        "is no term: it wraps the sum, as in PGDTraining(threat, a + b)."
    )
