"""The theory of low-rank features, shown: which margins cross-entropy and differential training reach."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.environment import describe
from retemper.errors import SettingError
from retemper.margins import cross_entropy_limit, fit_cross_entropy, fit_margin, hard_margin_svm

OFFSETS = SHIFTS = (0.0, 1.0, 3.0, 10.0, 30.0)
DIMENSIONS, VARYING, IMAGES = 50, 3, 100


@dataclass(frozen=True)
class Cell:
    """The margins on one set of points.

    Attributes:
        seed: of the points.
        offset: the coordinate that is the same for all points, outside the span of those that vary.
        shift: how far the classes' middle lies from zero along the direction that separates them.
        svm: the largest margin.
        differential: that of differential training.
        cross_entropy: that of cross-entropy with a bias, trained.
        limit: what theory says of cross-entropy: that of the bias-free SVM on [x, 1].
    """

    seed: int
    offset: float
    shift: float
    svm: float
    differential: float
    cross_entropy: float
    limit: float


@dataclass(frozen=True)
class LowRank:
    """All margins of the sweep, by seed, offset and shift."""

    cells: tuple[Cell, ...]

    @property
    def seeds(self) -> int:
        """How many sets of points each combination was measured on."""
        return len({cell.seed for cell in self.cells})

    @property
    def offsets(self) -> list[float]:
        """The constant offsets of the sweep."""
        return sorted({cell.offset for cell in self.cells})

    @property
    def shifts(self) -> list[float]:
        """The shifts of the sweep."""
        return sorted({cell.shift for cell in self.cells})

    def share(self, of: str, offset: float, shift: float) -> float:
        """A margin over that of the SVM, in the mean over seeds; `of` is the name of a field of `Cell`."""
        found = [getattr(cell, of) / cell.svm for cell in self.cells if (cell.offset, cell.shift) == (offset, shift)]
        return sum(found) / len(found)

    @property
    def differential_misses(self) -> float:
        """By what share differential training misses the SVM's margin, at worst."""
        return max(abs(cell.differential / cell.svm - 1) for cell in self.cells)

    @property
    def cross_entropy_misses(self) -> float:
        """By what share trained cross-entropy misses its predicted limit, at worst."""
        return max(abs(cell.cross_entropy / cell.limit - 1) for cell in self.cells)

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, and on what."""
        return {
            "study": "low-rank",
            "points": {"dimensions": DIMENSIONS, "varying": VARYING, "images": IMAGES},
            "differential_misses": self.differential_misses,
            "cross_entropy_misses": self.cross_entropy_misses,
            "cells": [asdict(cell) for cell in self.cells],
            "environment": describe(),
        }


def run(
    seeds: int = 3,
    offsets: Sequence[float] = OFFSETS,
    shifts: Sequence[float] = SHIFTS,
    *,
    finished: Callable[[Cell], None] = lambda _cell: None,
) -> LowRank:
    """Measure the margins of the SVM, of differential training and of cross-entropy over a sweep of low-rank sets.

    The paper (Nar et al. 2019, 1901.08360) says that cross-entropy leaves a small margin where points lie in an affine
    subspace; the sets, and the sweep over both offset and shift, are ours.

    Args:
        seeds: how many sets of points.
        offsets: their constant coordinate, outside the span of what varies.
        shifts: along the direction that separates the classes.
        finished: called after each cell.

    Raises:
        SettingError: no seed.
    """
    if seeds < 1:
        raise SettingError(f"Expected 1 seed or more, but got {seeds}.")
    cells = []
    for seed in range(seeds):
        for offset in offsets:
            for shift in shifts:
                cells.append(_cell(seed, offset, shift))
                finished(cells[-1])
    return LowRank(tuple(cells))


def low_rank_points(
    seed: int, offset: float, shift: float
) -> tuple[Float[Tensor, "images features"], Int[Tensor, " images"]]:
    """Two classes that vary in 3 of 50 dimensions, turned at random; the same points for every offset and shift.

    Along the first dimension, class 0 lies below -1/2 and class 1 above 1/2, by a normal draw's size over 2, and all
    of it is moved by the shift; the other two are normal draws; the fourth is the offset throughout.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(IMAGES) % 2
    points = torch.zeros(IMAGES, DIMENSIONS, dtype=torch.float64)
    points[:, :VARYING] = torch.randn(IMAGES, VARYING, generator=generator, dtype=torch.float64)
    points[:, 0] = (2 * labels - 1) * (0.5 + points[:, 0].abs() / 2) + shift
    points[:, VARYING] = offset
    turn = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator, dtype=torch.float64)).Q
    return points @ turn.T, labels


def _cell(seed: int, offset: float, shift: float) -> Cell:
    features, labels = low_rank_points(seed, offset, shift)
    return Cell(
        seed=seed,
        offset=offset,
        shift=shift,
        svm=hard_margin_svm(features, labels).margin,
        differential=fit_margin(features, labels).margin,
        cross_entropy=fit_cross_entropy(features, labels).margin,
        limit=cross_entropy_limit(features, labels).margin,
    )
