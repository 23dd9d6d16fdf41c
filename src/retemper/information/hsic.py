"""The Hilbert-Schmidt independence criterion: how far two descriptions of the same images depend on each other."""

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.information.rows import rows_of, squared_distances

Kernel = Float[Tensor, "images images"]
RIDGE = 1e-5  # times the number of images; as in the code of Wang et al. 2021


def gaussian_kernel(activations: Float[Tensor, "images *shape"], bandwidth: float) -> Kernel:
    """exp(-|a_i - a_j|^2 / (2 s^2)) - 1 with s = bandwidth * sqrt(units), so that width alone changes nothing.

    Centring takes the 1 out of any kernel: without it, the kernel of images that are close keeps its digits.
    """
    rows = rows_of(activations)
    return torch.expm1(-squared_distances(rows) / (2 * bandwidth**2 * rows.shape[1]))


def hsic(first: Kernel, second: Kernel) -> Float[Tensor, ""]:
    """tr(K H L H) / (N - 1)^2 with H = 1 - 1/N, the biased estimator (Gretton et al. 2005); of one image, 0."""
    return (centred_kernel(first) * centred_kernel(second)).sum() / max(len(first) - 1, 1) ** 2


def normalised_hsic(first: Kernel, second: Kernel) -> Float[Tensor, ""]:
    """tr(R_K R_L) with R_K = HKH (HKH + 1e-5 N)^-1 for either kernel: between 0 and N - 1, whatever their scale."""
    return (shrunk_kernel(first) * shrunk_kernel(second)).sum()


def centred_kernel(kernel: Kernel) -> Kernel:
    """HKH with H = 1 - 1/N."""
    rows = kernel - kernel.mean(0)
    return rows - rows.mean(1, keepdim=True)


def shrunk_kernel(kernel: Kernel) -> Kernel:
    """HKH (HKH + 1e-5 N)^-1."""
    centred = centred_kernel(kernel)
    ridge = RIDGE * len(centred) * torch.eye(len(centred), dtype=centred.dtype, device=centred.device)
    # Both factors have the same eigenvectors, so that the product is symmetric and its order does not matter.
    return torch.linalg.solve(centred + ridge, centred)
