"""The logistic loss over all pairs, to a relative error below 1e-8 in the loss and in each entry of its gradient.

With s the shortfall (negative - positive) of a pair and u = e^-|s|, its loss is max(s, 0) + log(1 + u) and the
derivative of that is u / (1 + u), or 1 - u / (1 + u) where s > 0. The first part of each is the hinge's. The others are
u times a polynomial in u, so sums of powers of u over all pairs are enough, and those build up along the sorted scores:
going up by a gap g multiplies the sum of the k-th powers by e^(-k g). No sum cancels against one of its own size and no
power overflows, however far apart the scores are. The construction is ours.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from retemper.objectives.pairs.hinge import hinge_sums
from retemper.objectives.pairs.ranked import Ranked, Sums

POWERS = 12
# Of u, u^2, ...: log(1 + u), then u / (1 + u), on [0, 1]; by Chebyshev's points, to 1e-10 and 1.3e-9 of the value.
COEFFICIENTS = np.array(
    [
        Chebyshev.interpolate(over_u, POWERS - 1, domain=[0, 1]).convert(kind=Polynomial).coef
        for over_u in (lambda u: np.log1p(u) / u, lambda u: 1 / (1 + u))
    ]
)


def logistic_sums(ranked: Ranked) -> Sums:
    """The loss over all pairs, and each score's share in its gradient."""
    hinge = hinge_sums(ranked)
    gaps, members = F.pad(ranked.gaps, (1, 0)), torch.stack([~ranked.positive, ranked.positive]).double()
    # One way up, one way down: what stands before each score, and what stands after it.
    directions = torch.stack([gaps, F.pad(ranked.gaps, (0, 1)).flip(0)]), torch.stack([members, members.flip(1)])
    sums = _decaying_sums(*directions)
    before, after = sums[0], sums[1].flip(-1)
    # At a positive the sums over the negatives count, and the other way round.
    before, after = (torch.where(ranked.positive, side[0], side[1]) for side in (before, after))
    # The total takes each pair once, from its negative.
    logarithms = (before[0] + after[0])[~ranked.positive].sum()
    inner = torch.where(ranked.positive, before[1] - after[1], after[1] - before[1])
    return Sums(hinge.total + logarithms, hinge.shares + inner)


def _decaying_sums(
    gaps: Float[Tensor, "directions scores"], members: Float[Tensor, "directions classes scores"]
) -> Float[Tensor, "directions classes functions scores"]:
    """For each function f of u and each score k, the sum over a class's scores i <= k of f(e^-(x_k - x_i)).

    The recurrence runs through blocks side by side, from nothing at first, which tells what each passes on to the
    next, then from what it is passed: two times sqrt(scores) steps instead of as many steps as scores.

    Args:
        gaps: from the score before to this one.
        members: 1 where the score is of the class.
    """
    scores = gaps.shape[1]
    blocks = math.isqrt(scores)
    steps = -(-scores // blocks)
    padding = (0, blocks * steps - scores)
    gaps = F.pad(gaps, padding).unflatten(-1, (blocks, steps)).movedim(-1, 0).unsqueeze(2).contiguous()
    members = F.pad(members, padding).unflatten(-1, (blocks, steps)).movedim(-1, 0).contiguous()
    powers = torch.arange(1, POWERS + 1, device=gaps.device, dtype=gaps.dtype).view(-1, 1, 1, 1)
    coefficients = torch.as_tensor(COEFFICIENTS, device=gaps.device)

    sums = gaps.new_zeros(POWERS, *members.shape[1:])
    for gap, member in zip(gaps, members, strict=True):
        sums.mul_(torch.exp(-powers * gap)).add_(member)
    across = torch.exp(-powers * gaps.sum(0))
    passed = torch.zeros_like(sums)
    for block in range(1, blocks):
        torch.addcmul(sums[..., block - 1], passed[..., block - 1], across[..., block - 1], out=passed[..., block])
    sums = passed
    found = gaps.new_empty(steps, len(coefficients), *sums.shape[1:])
    for step, (gap, member) in enumerate(zip(gaps, members, strict=True)):
        sums.mul_(torch.exp(-powers * gap)).add_(member)
        torch.mm(coefficients, sums.flatten(1), out=found[step].view(len(coefficients), -1))
    # From (steps, functions, directions, classes, blocks) to scores in their order.
    return found.permute(2, 3, 1, 4, 0).flatten(-2)[..., :scores]
