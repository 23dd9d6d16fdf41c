"""A linear classifier with the margin that it leaves, and the points that it is fitted on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import DataError
from retemper.information import margin


@dataclass(frozen=True)
class LinearMargin:
    """A linear classifier with the margin that it leaves on the points it was fitted on; in float64.

    Attributes:
        weight: one row a class, as in the last layer of a network; for two classes a single row, the score of
            class 1 against class 0.
        bias: one a row.
        margin: the smallest distance of a point to the boundary of its class; negative where one is on the
            wrong side.
        steps: how many steps the fit took.
    """

    weight: Float[Tensor, "scores features"]
    bias: Float[Tensor, " scores"]
    margin: float
    steps: int

    @property
    def separable(self) -> bool:
        """Whether every point is on its right side; if not, the classes overlap (of two) or may overlap (of more)."""
        return self.margin > 0


def measured(
    features: Float[Tensor, "images features"],
    labels: Int[Tensor, " images"],
    weight: Float[Tensor, "scores features"],
    bias: Float[Tensor, " scores"],
    steps: int,
) -> LinearMargin:
    """A classifier with its margin measured."""
    return LinearMargin(weight, bias, margin(features, labels, weight, bias), steps)


def checked(
    features: Float[Tensor, "images features"], labels: Int[Tensor, " images"]
) -> tuple[Float[Tensor, "images features"], int]:
    """The features in float64, and the number of classes.

    Raises:
        DataError: NaN or infinite features, shapes that do not fit, fewer than two classes, or one without a point.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or labels.is_floating_point():
        raise DataError(
            "Expected features of shape (images, features) and an integer label for each image, but got "
            f"{tuple(features.shape)} and {tuple(labels.shape)} of {labels.dtype}; flatten features of other shapes."
        )
    bad = int((~features.isfinite().all(1)).sum())
    if bad:
        raise DataError(f"Expected finite features, but {bad} of {len(features)} rows hold NaN or infinity.")
    present = labels.unique().tolist()
    if len(present) < 2 or present != list(range(len(present))):
        raise DataError(
            f"Expected labels 0, 1, ... of two classes or more, each with a point, but got {_shortened(present)}."
        )
    return features.detach().double(), len(present)


def two_classes(
    features: Float[Tensor, "images features"], labels: Int[Tensor, " images"]
) -> Float[Tensor, "images features"]:
    """The features in float64.

    Raises:
        DataError: as of `checked`, or there are more than two classes.
    """
    points, classes = checked(features, labels)
    if classes != 2:
        raise DataError(f"Expected two classes, but got {classes}.")
    return points


def towards_class_1(points: Float[Tensor, "images features"], labels: Int[Tensor, " images"]) -> Tensor:
    """The points with those of class 0 mirrored at the origin: a weight vector is right on x where w x > 0."""
    return torch.where(labels[:, None] == 1, points, -points)


def _shortened(labels: list[int]) -> str:
    return str(labels) if len(labels) <= 10 else f"{labels[:10]} and {len(labels) - 10} more"
