"""Cross-entropy on a linear classifier, trained until its direction no longer changes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import DataError
from retemper.margins.direction import widest_gap
from retemper.margins.linear import LinearMargin, measured, towards_class_1, two_classes


def fit_cross_entropy(
    features: Float[Tensor, "images features"], labels: Int[Tensor, " images"], *, tolerance: float = 1e-6
) -> LinearMargin:
    """Fit a weight vector and a bias to two classes by cross-entropy, full batch.

    The weights and bias of least loss among those of their norm, for a norm that grows until the direction stays:
    gradient descent follows the same path to the same direction (Ji et al. 2020, 2006.11226), but like 1 / log t.
    The way there is that of `widest_gap`. The closest points have scores 1 and -1 or beyond.

    Args:
        features: one row an image.
        labels: 0 or 1.
        tolerance: the share of the margin through the origin, on [x, 1], that may be missing.

    Raises:
        DataError: not two classes, or no hyperplane separates them, so that cross-entropy has no such limit.
        DivergenceError: the features' digits do not suffice to come so near.
    """
    points = two_classes(features, labels)
    signed = towards_class_1(torch.cat([points, torch.ones_like(points[:, :1])], dim=1), labels)
    # The score of each signed point against that of the origin, which is zero.
    found = widest_gap([(signed, torch.zeros_like(signed[:1]))], signed.new_ones(1, 1), tolerance)
    if found.gap <= 0:
        raise DataError("Expected classes that a hyperplane separates, but these overlap.")
    weight = found.weight[0] / (signed @ found.weight[0]).min()
    return measured(features, labels, weight[None, :-1], weight[-1:], found.steps)
