"""What counts as a model's answer: its largest logit, or the majority of its answers if they are random."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.evaluation.randomised import majority, seeded
from retemper.models import predict
from retemper.models.inference import device_of


@dataclass(frozen=True)
class Judge:
    """A model and how many of its answers are asked for: 1, or more if they are random."""

    model: nn.Module
    draws: int = 1

    def __call__(
        self, inputs: Float[Tensor, "images *shape"]
    ) -> tuple[Int[Tensor, " images"], Float[Tensor, "images classes"]]:
        """The answers, and logits (of one draw).

        Raises:
            ModelError: the model does not run on the inputs, or returns NaN.
        """
        with self.repeatable(0):
            outputs, _ = predict(self.model, [(inputs, torch.zeros(len(inputs), dtype=torch.int64))])
        if self.draws == 1:
            return outputs.argmax(1), outputs
        return majority(self.model, inputs, self.draws), outputs

    @contextlib.contextmanager
    def repeatable(self, seed: int) -> Iterator[None]:
        """Run the block with the global generators seeded, if the model draws from them; put them back."""
        with contextlib.nullcontext() if self.draws == 1 else seeded(seed, device_of(self.model)):
            yield
