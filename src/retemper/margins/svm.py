"""Support vector machines by a solver that ends at the exact answer: what margins are measured against."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import DataError, DivergenceError
from retemper.margins.direction import widest_gap
from retemper.margins.linear import LinearMargin, measured, towards_class_1, two_classes

# The bias of the hard-margin SVM as the weight of a coordinate so long, in radii of the data, that what it adds to
# the norm changes the margin by a share below 1 / (2 * 1000^2).
_FREE = 1e3


def hard_margin_svm(features: Float[Tensor, "images features"], labels: Int[Tensor, " images"]) -> LinearMargin:
    """The separating hyperplane with the largest margin.

    The bias-free machine on [x - mean, 1000 r], r being the largest length of x - mean: the norm of its weights
    counts the bias too, but the hyperplane is at most r from the mean, so that this costs less than a
    millionth of the margin. Rounding costs more where the margin is below some 1e-4 r.

    Raises:
        DataError: not two classes, or no hyperplane separates them.
        DivergenceError: one does, but so closely that rounding hides it from this solver.
    """
    points = two_classes(features, labels)
    mean = points.mean(0)
    radius = torch.linalg.vector_norm(points - mean, dim=1).max()
    weight, steps = _bias_free(_with_constant(points - mean, float(_FREE * radius)), labels)
    # Halfway between the closest scores, which is where the machine has it but for rounding.
    scores = points @ weight[:-1]
    ends = scores[labels == 1].min(), scores[labels == 0].max()
    weight = 2 * weight[:-1] / (ends[0] - ends[1])
    bias = -(ends[0] + ends[1]) / (ends[0] - ends[1])
    return measured(features, labels, weight[None], bias[None], steps)


def cross_entropy_limit(features: Float[Tensor, "images features"], labels: Int[Tensor, " images"]) -> LinearMargin:
    """What gradient descent on cross-entropy, with a bias, converges to: the bias-free SVM on [x, 1].

    The bias is the weight of one more constant coordinate, and the direction of all weights is that of the largest
    margin through the origin (Soudry et al. 2018, 1710.10345). The closest points have scores 1 and -1.

    Raises:
        DataError: not two classes, or no hyperplane separates them.
        DivergenceError: one does, but so closely that rounding hides it from this solver.
    """
    points = two_classes(features, labels)
    weight, steps = _bias_free(_with_constant(points, 1.0), labels)
    return measured(features, labels, weight[None, :-1], weight[-1:], steps)


def _prove_overlap(above: Tensor, below: Tensor) -> None:
    """Raise a DivergenceError where the classes do not overlap, so that it was rounding that hid their margin."""
    found = widest_gap([(above, below)], above.new_ones(1, 1), tolerance=0.5)
    if found.gap > 0:
        raise DivergenceError(
            f"Expected classes that this solver's digits hold apart, but these are {found.gap:.3g} or a little more "
            "apart, too near for their extent; bring the features to like units, or use `fit_margin`."
        )


def _with_constant(points: Tensor, constant: float) -> Tensor:
    return torch.cat([points, points.new_full((len(points), 1), constant)], dim=1)


def _bias_free(points: Tensor, labels: Tensor) -> tuple[Float[Tensor, " features"], int]:
    """The shortest w with w x >= 1 on class 1 and w x <= -1 on class 0, and how many points hold it.

    Least-distance programming as non-negative least squares (Lawson & Hanson 1974, chapter 23): an active-set
    method, which ends after finitely many steps at the exact answer.
    """
    import numpy as np
    from scipy.optimize import nnls

    signed = towards_class_1(points, labels)
    scale = torch.linalg.vector_norm(signed, dim=1).max()
    # Points that are all zero need no scale, and have no margin.
    columns = np.vstack([(signed / scale.clamp_min(1e-300)).T.cpu().numpy(), np.ones(len(signed))])
    target = np.zeros(len(columns))
    target[-1] = 1
    multipliers, _ = nnls(columns, target, maxiter=100 * max(columns.shape))
    weight = signed.T @ torch.from_numpy(multipliers).to(signed)
    least = (signed @ weight).min()
    if least <= 0:
        varying = points[:, :-1]  # the constant tells no class from another
        _prove_overlap(varying[labels == 1], varying[labels == 0])
        raise DataError("Expected classes that a hyperplane separates, but these overlap: there is no margin.")
    return weight / least, int((multipliers > 0).sum())
