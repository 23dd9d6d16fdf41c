"""The hinges over all pairs: exact, by sums over the gaps between neighbouring scores.

The margin is already taken off the positives, so that a pair's loss is its shortfall (negative - positive) where that
is above zero, or its square. Rust & Hocking 2023 (2302.11062) expand the powers into sums of scores and of their
squares; we add up gaps instead, which are all of one sign, so that nothing cancels.
"""

import torch
import torch.nn.functional as F

from retemper.objectives.pairs.ranked import Ranked, Sums


def hinge_sums(ranked: Ranked) -> Sums:
    """The shortfalls' sum: each gap counts once for every pair that spans it."""
    before, after = ranked.positives_so_far, ranked.negatives_to_come
    return Sums((ranked.gaps * before[:-1] * after[1:]).sum(), torch.where(ranked.positive, after, before))


def squared_hinge_sums(ranked: Ranked) -> Sums:
    """The squares' sum: over a gap g, a shortfall from d to d + g has its square grow by g * (d + (d + g))."""
    gaps, before, after = ranked.gaps, ranked.positives_so_far[:-1], ranked.negatives_to_come[1:]
    # The distance from each score to all positives before it, and to all negatives after it.
    behind = F.pad((gaps * before).cumsum(0), (1, 0))
    ahead = F.pad((gaps * after).flip(0).cumsum(0).flip(0), (0, 1))
    total = (gaps * (behind[:-1] + behind[1:]) * after).sum()
    return Sums(total, 2 * torch.where(ranked.positive, ahead, behind))
