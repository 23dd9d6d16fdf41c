"""A loss of the difference of scores, over all pairs of a positive and a negative, without looking at each pair."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.pairs.hinge import hinge_sums, squared_hinge_sums
from retemper.objectives.pairs.logistic import logistic_sums
from retemper.objectives.pairs.ranked import Ranked, Sums


class PairLoss(NamedTuple):
    """A loss of one pair, and its sums over all pairs.

    Attributes:
        of: the loss by negative - positive.
        sums: its sum, and each score's share in the gradient, of scores in order.
        margin: by how much a positive should be higher.
        few: up to so many pairs, looking at each was not slower than sorting (one thread of a Xeon with AMX).
    """

    of: Callable[[Tensor], Tensor]
    sums: Callable[[Ranked], Sums]
    margin: int
    few: int


PAIR_LOSSES = {
    "logistic": PairLoss(F.softplus, logistic_sums, margin=0, few=2**17),
    "hinge": PairLoss(lambda difference: F.relu(1 + difference), hinge_sums, margin=1, few=2**14),
    "squared-hinge": PairLoss(
        lambda difference: F.relu(1 + difference).square(), squared_hinge_sums, margin=1, few=2**14
    ),
}
FEWEST = min(loss.few for loss in PAIR_LOSSES.values())


def pair_loss(
    positive: Float[Tensor, " positives"], negative: Float[Tensor, " negatives"], loss: str = "logistic"
) -> Float[Tensor, ""]:
    """The mean over all pairs (i, j) of a loss of t = positive_i - negative_j, as Nar et al. 2019 (1901.08360) sum it.

    They take the sum, we the mean, so that the loss does not grow with the number of pairs. Without a pair it is 0.
    Computed in float64 whatever the scores are. Many pairs take time O((N + M) log(N + M)) and memory O(N + M): the
    hinges are exact (Rust & Hocking 2023, 2302.11062), the logistic loss and each entry of its gradient have a
    relative error below 1e-8 (ours). Of many pairs there is no second derivative.

    Args:
        positive: finite scores, which should be higher.
        negative: finite scores, which should be lower.
        loss: "logistic" log(1 + e^-t), "hinge" max(0, 1 - t), or "squared-hinge", its square.

    Raises:
        SettingError: an unknown loss.
        NotImplementedError: in the backward pass, where a second derivative of many pairs is prepared.
    """
    if loss not in PAIR_LOSSES:
        raise SettingError(f"Expected `loss` to be one of {', '.join(PAIR_LOSSES)}, but got {loss!r}.")
    chosen, pairs = PAIR_LOSSES[loss], len(positive) * len(negative)
    if pairs > chosen.few:
        return _Sorted.apply(positive, negative, chosen)  # type: ignore[no-untyped-call]  # torch gives it no types
    return (chosen.of(negative.double() - positive.double()[:, None]).sum() / max(pairs, 1)).to(positive.dtype)


class _Sorted(torch.autograd.Function):
    """The mean over pairs by one sort; its gradient falls out of the same pass."""

    @staticmethod
    def forward(ctx: Any, positive: Tensor, negative: Tensor, loss: PairLoss) -> Tensor:
        # Negatives first, and a stable sort: a pair that is just at the margin counts as none that falls short.
        scores = torch.cat([negative.double(), positive.double() - loss.margin])
        ranked, order = scores.sort(stable=True)
        total, shares = loss.sums(Ranked(ranked, order >= len(negative)))
        gradients = torch.empty_like(scores).scatter_(0, order, shares)
        pairs = len(positive) * len(negative)
        ctx.save_for_backward(
            (-gradients[len(negative) :] / pairs).to(positive.dtype),
            (gradients[: len(negative)] / pairs).to(negative.dtype),
        )
        return (total / pairs).to(positive.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        if torch.is_grad_enabled():
            # `once_differentiable` would let the gradient pass for a constant where the upstream one is.
            raise NotImplementedError(
                "The loss over this many pairs has no second derivative, but one was prepared by `create_graph=True`; "
                f"leave that out, or take batches of fewer pairs: {FEWEST} have one whatever the loss is."
            )
        of_positive, of_negative = ctx.saved_tensors
        return upstream * of_positive, upstream * of_negative, None
