"""Against the functions they restate, against automatic differentiation, and the coverage of their intervals."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from retemper.information import effective_rank
from retemper.information.gram import Influenced, gram
from retemper.information.gram import effective_rank as rank_of
from retemper.information.gram import renyi_entropy as renyi_of
from retemper.information.measures import renyi_entropy
from retemper.information.resampling import Estimate, weights

BOTH = pytest.mark.parametrize("figure_of", [rank_of, renyi_of])


def drawn(images: int, units: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = 1 / torch.arange(1, units + 1, dtype=torch.float64)
    return torch.randn(images, units, generator=generator, dtype=torch.float64) * scales + 3


@pytest.mark.parametrize("sizes", [[7], [1, 6], [2, 2, 3]])
def test_products_are_centred_however_images_and_units_are_divided(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retemper.information.gram._UNITS", 3)
    rows = drawn(7, 8)
    centred = rows - rows.mean(0)
    torch.testing.assert_close(gram(rows.split(sizes)), centred @ centred.T)


@pytest.mark.parametrize("shape", [(9, 4), (9, 30), (2, 3)])
def test_figures_are_those_of_the_features(shape: tuple[int, int]) -> None:
    rows = drawn(*shape)
    products = gram([rows])
    torch.testing.assert_close(rank_of(products).figure, effective_rank(rows))
    torch.testing.assert_close(renyi_of(products).figure, renyi_entropy(rows))


def test_figures_are_those_of_scikit_learn() -> None:
    rows = drawn(40, 6).numpy()
    shares = PCA().fit(rows).explained_variance_ratio_
    assert float(rank_of(gram([torch.from_numpy(rows)])).figure) == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum())
    )
    distances = np.square(rows[:, None] - rows[None]).sum(2)
    kernel = rbf_kernel(rows, gamma=1 / (2 * distances.mean())) / len(rows)
    assert float(renyi_of(gram([torch.from_numpy(rows)])).figure) == pytest.approx(-np.log(np.trace(kernel @ kernel)))


def test_the_rank_of_a_known_covariance_is_that_of_its_eigenvalues() -> None:
    # Orthonormal directions without a mean, so that the sample's variances are exactly as wished.
    directions = torch.linalg.qr(torch.cat([torch.ones(50, 1), drawn(50, 3)], 1))[0][:, 1:]
    variances = torch.tensor([9.0, 4.0, 1.0], dtype=torch.float64)
    shares = variances / 14
    expected = (-(shares * shares.log()).sum()).exp()
    turned = directions * variances.sqrt() @ torch.linalg.qr(drawn(12, 3))[0].T
    torch.testing.assert_close(rank_of(gram([turned])).figure, expected)


@BOTH
def test_equal_images_have_no_entropy_and_no_influence(figure_of: Callable[[Tensor], Influenced]) -> None:
    found = figure_of(gram([torch.full((5, 3), 0.1).double() / 3]))
    assert float(found.figure) == 0
    assert bool((found.influence == 0).all())


def weighted_rank(rows: Tensor, shares: Tensor) -> Tensor:
    centred = rows - shares @ rows
    variances = torch.linalg.eigvalsh((centred * shares[:, None]).T @ centred)
    parts = variances / variances.sum()
    return (-(parts * parts.log()).sum()).exp()


def weighted_renyi(rows: Tensor, shares: Tensor) -> Tensor:
    squared = (rows[:, None] - rows[None]).square().sum(2)
    pairs = shares[:, None] * shares[None]
    return -(pairs * (-squared / (pairs * squared).sum()).exp()).sum().log()


@pytest.mark.parametrize(("figure_of", "weighted"), [(rank_of, weighted_rank), (renyi_of, weighted_renyi)])
def test_influence_is_the_derivative_by_the_images_weights(
    figure_of: Callable[[Tensor], Influenced], weighted: Callable[[Tensor, Tensor], Tensor]
) -> None:
    rows = drawn(20, 5)
    each = torch.ones(20, dtype=torch.float64, requires_grad=True)
    figure = weighted(rows, each / each.sum())
    (slopes,) = torch.autograd.grad(figure, each)
    found = figure_of(gram([rows]))
    figure = figure.detach()
    torch.testing.assert_close(found.figure, figure)
    torch.testing.assert_close(found.influence, 20 * slopes)
    assert float(found.influence.mean()) == pytest.approx(0, abs=1e-12)
    # Hence a small change of the weights moves the figure as the influence says.
    moved = torch.ones(20, 2, dtype=torch.float64)
    moved[3, 1] += 1e-4
    expected = weighted(rows, moved[:, 1] / moved[:, 1].sum())
    got = found.reweighted(moved)
    assert float(got[0]) == pytest.approx(float(figure))
    assert float(got[1]) == pytest.approx(float(expected), abs=1e-8)


@BOTH
def test_intervals_cover_the_figure_of_as_many_other_images(figure_of: Callable[[Tensor], Influenced]) -> None:
    found = [figure_of(gram([drawn(80, 12, seed)])) for seed in range(150)]
    typical = float(torch.stack([each.figure for each in found]).mean())
    poisson = [weights(torch.arange(80), 100, seed).double() for seed in range(150)]
    ends = [Estimate.of(each.reweighted(drawn)).interval for each, drawn in zip(found, poisson, strict=True)]
    covered = sum(low <= typical <= high for low, high in ends) / len(ends)
    assert 0.86 <= covered <= 0.99
