"""Models that answer at random: how far their answers vary, what counts as their answer, and how to attack them.

The robust accuracy of a randomised model is that of its majority: an image stands where the right class is the one
that comes most often among `DRAWS` answers, which with many classes may be fewer than half of them. Noise is drawn for
a batch at once, so that these answers hang on which images go together.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.models import evaluation_mode, logits
from retemper.noise import Noise
from retemper.objectives.draws import as_they_were, begin_anew

DRAWS = 25  # odd, so that two classes alone never tie
# Of the span of an image's logits: far above what rounding in another order does, far below what moves an answer.
RANDOM = 1e-3


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run the block with the global generators of torch, NumPy and Python seeded; put all back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what models draw from is the global one
    with as_they_were(device):
        try:
            begin_anew(device, seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def change(first: Float[Tensor, "images classes"], second: Float[Tensor, "images classes"]) -> float:
    """How far logits differ: the largest difference over the span of an image's logits, averaged over images."""
    span = (first.amax(1) - first.amin(1)).clamp_min(torch.finfo(first.dtype).tiny)
    return float(((first - second).abs().amax(1) / span).mean())


def randomness(model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> float:
    """How far two answers of the model to the same inputs differ, as `change` tells."""
    with evaluation_mode(model), torch.no_grad(), seeded(0, inputs.device):
        return change(logits(model, inputs), logits(model, inputs))


def is_random(model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> bool:
    """Whether the model's answers to the same inputs differ by more than rounding."""
    return randomness(model, inputs) > RANDOM


def majority(
    model: nn.Module, inputs: Float[Tensor, "images *shape"], draws: int = DRAWS, seed: int = 0
) -> Int[Tensor, " images"]:
    """The class that a model gives most often to each image; the lowest number where classes tie."""
    counts: Tensor | int = 0
    with evaluation_mode(model), torch.no_grad():
        for draw in range(draws):
            with seeded(_mixed(seed, draw), inputs.device):
                outputs = logits(model, inputs)
            counts = counts + torch.nn.functional.one_hot(outputs.argmax(1), outputs.shape[1])
    assert isinstance(counts, Tensor), "there is at least one draw"
    return counts.argmax(1)


class Expectation(nn.Module):
    """The mean of a model's logits over draws: what an attack on a randomised model climbs (EOT).

    The draws are seeded by the inputs themselves: the same inputs meet the same draws, every step of an
    attack meets new ones. Synthesizing robust adversarial examples, Athalye et al. 2018 (1707.07397).

    Args:
        model: any.
        draws: forward passes of each forward pass; all their graphs are held at once.
        seed: of the draws.
    """

    def __init__(self, model: nn.Module, draws: int = 10, seed: int = 0) -> None:
        super().__init__()
        self.model, self.draws, self.seed = model, draws, seed

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The mean of the logits."""
        seed = _mixed(self.seed, int(fingerprints(inputs).sum()))
        with seeded(seed, inputs.device):
            return torch.stack([logits(self.model, inputs) for _ in range(self.draws)]).mean(0)


def fingerprints(inputs: Float[Tensor, "images *shape"]) -> Int[Tensor, " images"]:
    """A number for each image, out of all its bits: randomness keyed by it is new at every point of an attack."""
    flat = inputs.detach().flatten(1).contiguous()
    bits = flat.view(torch.int32 if flat.dtype == torch.float32 else torch.int64).to(torch.int64)
    multipliers = Noise.keyed(torch.arange(flat.shape[1], device=flat.device), name="fingerprints").keys
    return (bits * (2 * multipliers + 1)).sum(1)


def _mixed(seed: int, number: int) -> int:
    return int(Noise.keyed(torch.tensor([number]), seed, "draws").keys[0])
