"""A term that comes in slowly."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from retemper.activations import Layers
from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


def risen(progress: float, over: float) -> float:
    """The share, in [0, 1], of what rises in a straight line from 0 over a first part of a training; 0 for no rise."""
    return 1.0 if progress >= over else progress / over


@dataclass(frozen=True)
class WarmUp(Term):
    """A term whose weight rises in a straight line from 0, over the first part of a training.

    `CrossEntropy() + 1.25 * WarmUp(ActivationEntropy(), over=0.2)` has all of the weight from a fifth of the steps on.
    Outside of `retrain`, where nobody says how far the training is, it has all of it at once.

    Args:
        term: any other.
        over: the share of the training's steps, in (0, 1].

    Raises:
        SettingError: `over` is out of range, or `term` is no term.
    """

    term: Term
    over: float

    def __post_init__(self) -> None:
        if not isinstance(self.term, Term):
            raise SettingError(f"Expected a term to warm up, such as ActivationEntropy(), but got {self.term!r}.")
        if not 0 < self.over <= 1:
            raise SettingError(f"Expected `over` to be a share of the training in (0, 1], but got {self.over}.")

    @property
    def name(self) -> str:
        """That of the term: in histories it is the same part of the loss."""
        return self.term.name

    @property
    def differentiates_inputs(self) -> bool:
        """Whether the term does."""
        return self.term.differentiates_inputs

    @property
    def recorded_layers(self) -> Layers | None:
        """Those of the term."""
        return self.term.recorded_layers

    @property
    def spans_processes(self) -> bool:
        """Whether the term does."""
        return self.term.spans_processes

    @property
    def warmed(self) -> Term:
        """The term without its warm-up."""
        return self.term.warmed

    def check(self, model: nn.Module, train: Split) -> None:
        """Let the term look at the model."""
        self.term.check(model, train)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let the term set what it leaves open."""
        self.term.settle(model, train)

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The term by the share of its weight that it has by now."""
        return risen(forward.progress, self.over) * self.term.value(forward)
