"""The weights that hold classes furthest apart, reached by a loss on pairs of points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import DivergenceError

Sides = tuple[Float[Tensor, "above features"], Float[Tensor, "below features"]]

# In units of the largest difference of points: a gap that is proved to be smaller counts as none. Classes can be as
# near as 1e-8 where features differ in their units, as they do in tables.
_NO_GAP = 1e-10
_COOLING = 0.1
# What a Newton step promises to gain, in temperatures: below the first it is taken unseen, since rounding soon
# hides such gains; after two in a row below the second the temperature falls: the bound needs the second.
_SURE = 1e-3
_CENTRED = 1e-9
_MOST_STEPS = 1000


@dataclass(frozen=True)
class Direction:
    """Weights W and how far apart they hold the classes.

    Attributes:
        weight: one row an output; its norm means nothing.
        gap: the smallest difference of scores over all pairs of points, divided by ||W||; zero where it is proved
            that no weights hold the classes apart.
        bound: no weights have a wider gap.
        steps: Newton steps taken.
    """

    weight: Float[Tensor, "outputs features"]
    gap: float
    bound: float
    steps: int


def widest_gap(sides: Sequence[Sides], contrasts: Float[Tensor, "scores outputs"], tolerance: float) -> Direction:
    """Find the W whose smallest c W (x - y) / ||W|| is largest, over scores c, x above and y below.

    The W of least loss, the sum of exp(-c W (x - y)), among those of its norm, for a norm that grows until the gap
    is within a share `tolerance` of the widest: as it grows, the W of least loss becomes that of the widest gap
    (Rosset, Zhu & Hastie 2004; for pairs Nar et al. 2019, 1901.08360). The paper's logistic loss log(1 + exp(-t))
    equals its tail exp(-t) to the last digit at the norms where this ends; the tail is taken because its sum over
    pairs is a product of two sums over points. That, and the way there, is ours:

    - W = U / temperature, and U minimises temperature * log(loss) + ||U||^2 / 2, which is convex: Newton steps.
    - Minus the gradient of the first term is a convex combination of the differences c^T (x - y), and the norm of
      every such combination is a bound on the gap of every W: it tells when to end.

    Args:
        sides: for each score the points where it should be high, and those where it should be low; in float64.
        contrasts: row p says of which outputs score p is the difference.
        tolerance: the share of the widest gap that may be missing.

    Raises:
        DivergenceError: the points' digits do not suffice to come so near.
    """
    scale = max(float(_reach(above) + _reach(below)) for above, below in sides)
    weight = sides[0][0].new_zeros(contrasts.shape[1], sides[0][0].shape[1])
    if scale == 0:
        return Direction(weight, gap=0.0, bound=0.0, steps=0)
    sides = [(above / scale, below / scale) for above, below in sides]
    temperature, bound, centred = 1.0, math.inf, 0
    for step in range(_MOST_STEPS):
        scores = _scores(sides, contrasts, weight)
        combination, curvature = _derivatives(sides, contrasts, scores, temperature)
        smallest, norm = min(float(a.min() - b.max()) for a, b in scores), float(weight.norm())
        gap = smallest / norm if norm > 0 else 0.0
        bound = min(bound, float(combination.norm()))
        if bound < _NO_GAP:
            return Direction(weight, gap=0.0, bound=0.0, steps=step)
        if gap >= (1 - tolerance) * bound:
            return Direction(weight, gap * scale, bound * scale, step)
        factor, failed = torch.linalg.cholesky_ex(curvature)
        if failed:
            break
        slope = combination - weight
        move = torch.cholesky_solve(slope.reshape(-1, 1), factor).reshape(weight.shape)
        gain = float((slope * move).sum())
        length, before = 1.0, _objective(sides, contrasts, weight, temperature)
        while gain > _SURE * temperature and (
            _objective(sides, contrasts, weight + length * move, temperature) > before - 0.1 * length * gain
        ):
            length /= 2
        weight = weight + length * move
        centred = centred + 1 if gain <= _CENTRED * temperature else 0
        if centred == 2:
            centred = 0
            temperature *= _COOLING
            # Of separable classes U stays about the same, of overlapping ones W.
            same, scaled = (_objective(sides, contrasts, start, temperature) for start in (weight, _COOLING * weight))
            weight = weight if same < scaled else _COOLING * weight
    raise DivergenceError(
        f"Expected to reach the widest gap between the classes up to a share of {tolerance:g}, but rounding stops at "
        f"a gap of {gap * scale:.6g}, with {bound * scale:.6g} not excluded; allow a larger `tolerance`."
    )


def _reach(points: Tensor) -> Tensor:
    return torch.linalg.vector_norm(points, dim=1).max()


def _scores(sides: Sequence[Sides], contrasts: Tensor, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(above @ row, below @ row) for (above, below), row in zip(sides, contrasts @ weight, strict=True)]


def _log_losses(scores: Sequence[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """Logarithm of the sum of exp(-(a - b) / temperature) over all pairs, for each score."""
    return torch.stack([(-a / temperature).logsumexp(0) + (b / temperature).logsumexp(0) for a, b in scores])


def _objective(sides: Sequence[Sides], contrasts: Tensor, weight: Tensor, temperature: float) -> float:
    losses = _log_losses(_scores(sides, contrasts, weight), temperature)
    return float(temperature * losses.logsumexp(0) + weight.square().sum() / 2)


def _derivatives(
    sides: Sequence[Sides], contrasts: Tensor, scores: Sequence[tuple[Tensor, Tensor]], temperature: float
) -> tuple[Float[Tensor, "outputs features"], Float[Tensor, "weights weights"]]:
    """The convex combination of differences, and the objective's second derivatives."""
    shares = _log_losses(scores, temperature).softmax(0)
    differences, moments = [], []
    for (above, below), (a, b) in zip(sides, scores, strict=True):
        centre_above, spread_above = _moments(above, (-a / temperature).softmax(0))
        centre_below, spread_below = _moments(below, (b / temperature).softmax(0))
        differences.append(centre_above - centre_below)
        moments.append(spread_above + spread_below + torch.outer(differences[-1], differences[-1]))
    weighted = shares[:, None] * contrasts
    combination = weighted.T @ torch.stack(differences)
    second = torch.einsum("pc,pe,pdf->cdef", weighted, contrasts, torch.stack(moments))
    flat = combination.flatten()
    curvature = (second.reshape(len(flat), len(flat)) - torch.outer(flat, flat)) / temperature
    return combination, curvature + torch.eye(len(flat), dtype=flat.dtype, device=flat.device)


def _moments(points: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the points, each with its share; shares below rounding are left out."""
    counted = shares > 1e-20
    points, shares = points[counted], shares[counted]
    centre = shares @ points
    rows = (points - centre) * shares.sqrt()[:, None]
    return centre, rows.T @ rows
