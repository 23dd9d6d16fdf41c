"""One of several terms, another at every step."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.activations import Layers
from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives.base import Term, WeightedSum, terms_of
from retemper.objectives.forward import ForwardPass
from retemper.objectives.gathered import agreed


@dataclass(frozen=True)
class OneOf(Term):
    """The mean of terms, for the price of one: a model in training mode meets one of them at each step, at random.

    All are as likely. In expectation that is the mean, which is the value in evaluation mode. So a training is against
    several threats at once, as `recipe` has it; adversarial training with a norm drawn at random is that of Madaan et
    al. 2021 (2006.12135) and Croce & Hein 2022 (2105.12508).

    The draw is from torch's global generator, as those of dropout are; `retrain` seeds it each epoch. Every process of
    several draws its own, but where a term has to be computed by all at once, as `Differential` has: then all meet what
    the first one draws.

    Args:
        terms: two or more, or sums of terms: `OneOf((recipe(threat), CrossEntropy() + 0.3 * Jacobian()))`.

    Raises:
        SettingError: there are fewer, one is neither, or they read the outputs of different layers.
    """

    terms: tuple[Term | WeightedSum, ...]

    name = "one-of"

    def __post_init__(self) -> None:
        if len(self.terms) < 2 or not all(isinstance(term, Term | WeightedSum) for term in self.terms):
            raise SettingError(
                f"Expected two terms or more, such as OneOf((a, b)), each to be met at random, but got {self.terms!r}."
            )
        if len({repr(layers) for layers in self._layers}) > 1:
            raise SettingError(
                "Expected terms that read the outputs of the same layers, but they read those of "
                f"{' and '.join(map(repr, self._layers))}."
            )

    @property
    def differentiates_inputs(self) -> bool:
        """Whether any of them does."""
        return any(term.differentiates_inputs for term in self._each)

    @property
    def recorded_layers(self) -> Layers | None:
        """The layers that they read."""
        return next(iter(self._layers), None)

    @property
    def spans_processes(self) -> bool:
        """Whether any of them does."""
        return any(term.spans_processes for term in self._each)

    @property
    def warmed(self) -> "Term":
        """The same of the terms as they are at the end of a training."""
        return OneOf(tuple(_warmed(term) for term in self.terms))

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """That of the drawn term, or the mean of all."""
        if forward.model.training:
            drawn = int(torch.randint(len(self.terms), ()))  # on the CPU, so that nothing waits for the device
            if self.spans_processes and torch.is_grad_enabled():
                drawn = agreed(drawn, forward.logits.device)
            return _value(self.terms[drawn], forward)
        return torch.stack([_value(term, forward) for term in self.terms]).mean()

    def check(self, model: nn.Module, train: Split) -> None:
        """Let every term look at the model."""
        for term in self.terms:
            term.check(model, train)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let every term set what it leaves open."""
        for term in self.terms:
            term.settle(model, train)

    @property
    def _each(self) -> list[Term]:
        return [term for sum_ in self.terms for _, term in terms_of(sum_)]

    @property
    def _layers(self) -> list[Layers]:
        return [term.recorded_layers for term in self._each if term.recorded_layers is not None]


def _value(sum_: Term | WeightedSum, forward: ForwardPass) -> Float[Tensor, ""]:
    values = [weight * term.value(forward) for weight, term in terms_of(sum_)]
    return torch.stack(values).sum()


def _warmed(sum_: Term | WeightedSum) -> Term | WeightedSum:
    if isinstance(sum_, Term):
        return sum_.warmed
    return WeightedSum(tuple((weight, term.warmed) for weight, term in sum_.terms))
