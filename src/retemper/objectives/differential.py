"""Differential training: the logistic loss on differences between points of different classes."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.data import Split
from retemper.models.last_layer import last_layer
from retemper.objectives.base import Term
from retemper.objectives.biases import fit_biases
from retemper.objectives.forward import ForwardPass
from retemper.objectives.gathered import gathered
from retemper.objectives.pairs import pair_loss

# Looking at so many pairs of images takes about as long as one call of `pair_loss` (one thread of a Xeon with AMX).
PAIRS_OF_IMAGES_PER_CALL = 2**14
# Elsewhere than on the CPU calls are what costs, and pairs next to nothing, up to some hundred megabytes of them.
MOST_PAIRS_OF_IMAGES = 2**24


@dataclass(frozen=True)
class Differential(Term):
    """The mean over pairs (i, j) of different classes a and b of log(1 + exp(-(s_ab(x_i) - s_ab(x_j)))).

    With s_ab = z_a - z_b. For two classes this is Nar et al. 2019 (1901.08360) but for their sum, where we
    take the mean over the pairs, so that the loss does not grow with the batch. For more classes the source
    has nothing: every pair of classes with its own score is ours. Biases of the last layer cancel and are
    set after training (`settle`). A batch of one class alone has no pairs: its loss is 0.

    Where training is shared among processes, the pairs span the joined batch: every process of the group must then
    compute the loss. That is so with gradients on and the model in training mode. Under `torch.no_grad`, or with the
    model in evaluation mode, one process may be alone with it, so that the pairs are those of its own batch.
    """

    name = "differential"

    @property
    def spans_processes(self) -> bool:
        """It does: pairs are of images of the joined batch."""
        return True

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean over all ordered pairs of different classes; each pair counts the same from both sides."""
        logits, labels = forward.logits, forward.labels
        # The mode tells too, since an input gradient has gradients on even in a validation loop.
        if torch.is_grad_enabled() and forward.model.training:
            logits, labels = gathered(logits, labels)
        few = MOST_PAIRS_OF_IMAGES
        if logits.device.type == "cpu":
            few = PAIRS_OF_IMAGES_PER_CALL * (logits.shape[1] * (logits.shape[1] - 1) // 2)
        return (_by_images if len(labels) ** 2 <= few else _by_classes)(logits, labels)

    def check(self, model: nn.Module, train: Split) -> None:
        """Make sure that there is a last layer whose biases can be set.

        Raises:
            ModelError: the logits are not the output of an `nn.Linear` with a bias.
        """
        last_layer(model, train.take(2).batch(slice(None))[0])

    def settle(self, model: nn.Module, train: Split) -> None:
        """Set the biases of the last layer on the training data."""
        fit_biases(model, train)


def _by_images(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, ""]:
    own = logits.gather(1, labels[:, None])  # z_a(x_i)
    crossed = logits[:, labels]  # z_b(x_i) for the class b of each j
    differences = own + own.T - crossed - crossed.T
    different = (labels[:, None] != labels[None, :]).to(logits.dtype)
    return (F.softplus(-differences) * different).sum() / different.sum().clamp_min(1)


def _by_classes(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, ""]:
    members = [logits[labels == label] for label in range(logits.shape[1])]
    losses, pairs = [], []
    for a, b in itertools.combinations(range(len(members)), 2):
        losses.append(pair_loss(members[a][:, a] - members[a][:, b], members[b][:, a] - members[b][:, b]))
        pairs.append(len(members[a]) * len(members[b]))
    shares = torch.tensor(pairs, dtype=logits.dtype, device=logits.device) / max(sum(pairs), 1)
    return (torch.stack(losses) * shares).sum()
