"""The biases of the last layer, which differential training leaves open, set on the training data."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from retemper.data import Split
from retemper.models import predict
from retemper.models.last_layer import last_layer

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def fit_biases(model: nn.Module, train: Split, batch_size: int = 512) -> None:
    """Shift the last layer's biases to where they separate the training data best.

    Two classes: halfway between the closest scores, or where they overlap, the threshold of least training
    error (Nar et al. 2019). More classes (ours): the shifts that maximise the smallest normalised gap
    (z_y + b_y - z_k - b_k) / ||w_y - w_k||; where no shifts separate the classes, those of least cross-entropy.

    Raises:
        ModelError: the logits are not the output of an `nn.Linear` with a bias, so that there is none to set.
    """
    last = last_layer(model, train.take(2).batch(slice(None))[0])
    scores, labels = predict(model, train.batches(batch_size))
    values, classes = scores.cpu().double().numpy(), labels.cpu().numpy()
    if last.out_features == 1:
        shifts = np.array([threshold_shift(values[:, 1], classes)])
    elif last.out_features == 2:
        shifts = np.array([0.0, threshold_shift(values[:, 1] - values[:, 0], classes)])
    else:
        weights = last.weight.detach().cpu().double()
        # Without the detour over products, whose rounding keeps equal weights apart.
        distances = torch.cdist(weights, weights, compute_mode="donot_use_mm_for_euclid_dist")
        shifts = class_shifts(values, classes, distances.numpy())
    with torch.no_grad():
        last.bias.add_(torch.as_tensor(shifts, dtype=last.bias.dtype, device=last.bias.device))


def threshold_shift(scores: Float[Array, " images"], labels: Int[np.ndarray, " images"]) -> float:
    """What to add to the score of class 1 against class 0 so that zero separates the classes best.

    Among the gaps between neighbouring scores with the fewest errors, the middle of the widest; the lowest
    of equally wide ones. So classes that do not overlap are separated halfway between their closest scores.
    Where every gap has more errors than answering one class throughout (a class that is absent or outnumbered
    everywhere, scores that are all equal), the threshold lies beyond all scores, by half their range or by 1/2
    if they have none; below them if either class would do. What to do with ties and ends is our choice.
    """
    order = np.argsort(scores, kind="stable")
    ascending, ones = scores[order], labels[order] == 1
    beyond = float(ascending[-1] - ascending[0]) or 1.0
    edges = np.concatenate([[ascending[0] - beyond], ascending, [ascending[-1] + beyond]])
    # Errors of a threshold above the first k scores: ones below it and zeros above it.
    errors = np.concatenate([[0], np.cumsum(ones)]) + (~ones).sum() - np.concatenate([[0], np.cumsum(~ones)])
    widths = np.diff(edges)
    outside = np.zeros(len(widths), dtype=bool)
    outside[[0, -1]] = True
    # Equal scores have no threshold between them. Fewest errors first, then inside, then widest, then lowest.
    best = np.lexsort((-widths, outside, np.where(widths > 0, errors, len(ones) + 1)))[0]
    return -float(edges[best] + edges[best + 1]) / 2


def class_shifts(
    scores: Float[Array, "images classes"],
    labels: Int[np.ndarray, " images"],
    distances: Float[Array, "classes classes"],
) -> Float[Array, " classes"]:
    """One shift a class: of the largest smallest normalised gap, or of least cross-entropy where classes overlap.

    Args:
        scores: the logits.
        labels: integers in [0, classes).
        distances: ||w_y - w_k||, the distance between the classes' weight vectors.
    """
    shifts, gap = _widest_gap(scores, labels, distances)
    return shifts if gap > 0 else _least_cross_entropy(scores, labels)


def _widest_gap(scores: Array, labels: np.ndarray, distances: Array) -> tuple[Array, float]:
    """The linear program over shifts b and gap t: maximise t with z_y + b_y - z_k - b_k >= t ||w_y - w_k||."""
    from scipy.optimize import linprog

    count = scores.shape[1]
    rows, limits = [], []
    for own in np.unique(labels):
        # Only the image nearest to class k binds, so one inequality a pair of classes is enough.
        margins = (scores[labels == own][:, [own]] - scores[labels == own]).min(0)
        for other in range(count):
            if other != own:
                if distances[own, other] == 0:  # the same score for both classes: nothing separates them
                    return np.zeros(count), -np.inf
                row = np.zeros(count + 1)
                row[own], row[other], row[count] = -1, 1, distances[own, other]
                rows.append(row)
                limits.append(margins[other])
    objective = np.zeros(count + 1)
    objective[count] = -1
    # One shift is held at zero: adding a constant to all of them changes nothing.
    bounds = [(0.0, 0.0), *[(None, None)] * count]
    solution = linprog(objective, A_ub=np.array(rows), b_ub=np.array(limits), bounds=bounds)
    if not solution.success:
        return np.zeros(count), -np.inf
    return solution.x[:count], float(solution.x[count])


def _least_cross_entropy(scores: Array, labels: np.ndarray) -> Array:
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax

    wanted = np.bincount(labels, minlength=scores.shape[1]) / len(labels)

    def loss_and_gradient(shifts: Array) -> tuple[float, Array]:
        shifted = scores + shifts
        loss = (logsumexp(shifted, axis=1) - shifted[np.arange(len(labels)), labels]).mean()
        return float(loss), softmax(shifted, axis=1).mean(0) - wanted

    return np.asarray(minimize(loss_and_gradient, np.zeros(scores.shape[1]), jac=True, method="L-BFGS-B").x)
