"""The weights of least pair loss where classes overlap, so that they are finite."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.margins.direction import Sides
from retemper.objectives.pairs import pair_loss

_RANK = 1e-10  # singular values below this share of the largest are those of directions that do not vary


def least_pair_loss(
    sides: Sequence[Sides], contrasts: Float[Tensor, "scores outputs"]
) -> tuple[Float[Tensor, "outputs features"], int]:
    """The weights of the least mean of log(1 + exp(-c W (x - y))) over all pairs, scores c, x above, y below.

    The loss is the paper's (Nar et al. 2019, 1901.08360) but for the mean; L-BFGS in coordinates of equal
    variance is ours. Of all weights with the same scores, the shortest. Where some weights hold part of the pairs
    apart and mix up none, there is no finite minimiser: then those are returned at which no gradient is left.

    Returns:
        The weights, and the number of iterations.
    """
    from scipy.optimize import minimize

    points = torch.cat([points for side in sides for points in side])
    _, values, directions = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    varying = values > _RANK * values[0]
    axes = directions[varying].T / values[varying] * len(points) ** 0.5
    turned = [(above @ axes, below @ axes) for above, below in sides]
    counts = torch.tensor([len(above) * len(below) for above, below in sides], dtype=axes.dtype)
    shares = (counts / counts.sum()).tolist()

    def loss_and_gradient(flat: Any) -> tuple[float, Any]:
        weight = torch.tensor(flat, device=axes.device).reshape(contrasts.shape[1], -1).requires_grad_()
        loss = torch.stack(
            [
                share * pair_loss(above @ row, below @ row)
                for share, (above, below), row in zip(shares, turned, contrasts @ weight, strict=True)
            ]
        ).sum()
        loss.backward()
        assert weight.grad is not None
        return loss.item(), weight.grad.flatten().cpu().numpy()

    start = torch.zeros(contrasts.shape[1] * axes.shape[1], dtype=torch.float64).numpy()
    found = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 0.0, "maxiter": 2000}
    )
    weight = torch.tensor(found.x, device=axes.device).reshape(contrasts.shape[1], -1)
    return weight @ axes.T, int(found.nit)
