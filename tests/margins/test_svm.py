import itertools

import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from retemper.errors import DataError, DivergenceError
from retemper.margins import cross_entropy_limit, fit_cross_entropy, hard_margin_svm


def clouds(seed: int, apart: float = 6.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(40) % 2
    points = torch.randn(40, 4, generator=generator, dtype=torch.float64) + 5
    points[:, 0] += apart * labels
    return points, labels


def nearest_points_of_hulls(first: Tensor, second: Tensor) -> float:
    """Half the distance of two convex hulls by a general solver."""

    def squared(shares: Tensor) -> tuple[float, Tensor]:
        gap = shares[: len(first)] @ first.numpy() - shares[len(first) :] @ second.numpy()
        return float(gap @ gap), 2 * torch.cat([first, -second]).numpy() @ gap

    total = len(first) + len(second)
    sums = [
        {"type": "eq", "fun": lambda shares: shares[: len(first)].sum() - 1},
        {"type": "eq", "fun": lambda shares: shares[len(first) :].sum() - 1},
    ]
    start = torch.cat([torch.full((len(part),), 1 / len(part)) for part in (first, second)]).double().numpy()
    found = minimize(
        squared, start, jac=True, method="SLSQP", bounds=[(0, 1)] * total, constraints=sums,
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return float(found.fun) ** 0.5 / 2


@pytest.mark.parametrize("seed", range(3))
def test_the_margin_is_half_the_distance_of_the_hulls(seed: int) -> None:
    points, labels = clouds(seed)
    expected = nearest_points_of_hulls(points[labels == 1], points[labels == 0])
    assert hard_margin_svm(points, labels).margin == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_conditions_of_karush_kuhn_and_tucker_hold(seed: int) -> None:
    points, labels = clouds(seed)
    found = hard_margin_svm(points, labels)
    sides = 2.0 * labels - 1
    scores = sides * (points @ found.weight[0] + found.bias)
    assert float(scores.min()) == pytest.approx(1, abs=1e-9)
    # The weights are a non-negative combination of the points that hold the margin, of both classes alike.
    from scipy.optimize import nnls

    holding = scores < 1 + 1e-6
    rows = torch.cat([(sides[:, None] * points)[holding].T, sides[holding][None]]).numpy()
    target = torch.cat([found.weight[0], torch.zeros(1, dtype=torch.float64)]).numpy()
    assert nnls(rows, target)[1] < 1e-5 * found.weight.norm()


def test_moving_points_changes_the_limit_of_cross_entropy_but_not_the_svm() -> None:
    points, labels = clouds(0)
    svm, limit = hard_margin_svm(points, labels), cross_entropy_limit(points, labels)
    assert hard_margin_svm(points + 20, labels).margin == pytest.approx(svm.margin, rel=1e-6)
    assert hard_margin_svm(3 * points, labels).margin == pytest.approx(3 * svm.margin, rel=1e-6)
    assert limit.margin < 0.97 * svm.margin
    assert cross_entropy_limit(points - 20, labels).margin != pytest.approx(limit.margin, rel=1e-2)


def test_the_limit_is_the_shortest_of_weights_and_bias_together() -> None:
    """In one dimension: -1 at x = 1 and +1 at x = 3 leave no choice; a constant coordinate shares the bias."""
    points, labels = torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([0, 1])
    found = cross_entropy_limit(points, labels)
    # w = 1 along x; 2 v + b = -2 at the least v^2 + b^2: v = -4/5, b = -2/5.
    assert found.weight[0].tolist() == pytest.approx([1, -0.8])
    assert found.bias.tolist() == pytest.approx([-0.4])
    assert found.margin == pytest.approx(1 / 1.64**0.5)


@pytest.mark.parametrize("seed", range(3))
def test_trained_cross_entropy_reaches_its_limit(seed: int) -> None:
    points, labels = clouds(seed)
    found, limit = fit_cross_entropy(points, labels), cross_entropy_limit(points, labels)
    assert found.margin == pytest.approx(limit.margin, rel=5e-3)
    both = [torch.cat([one.weight[0], one.bias]) for one in (found, limit)]
    assert float(torch.cosine_similarity(*both, dim=0)) == pytest.approx(1, abs=1e-5)


def test_plain_gradient_descent_goes_the_same_way() -> None:
    points, labels = torch.tensor([[1.0, 2.0], [3.0, 2.0]]).double(), torch.tensor([0, 1])
    signed = (2 * labels - 1)[:, None] * torch.cat([points, torch.ones(2, 1)], dim=1)
    weight = torch.zeros(3, dtype=torch.float64)
    for step in itertools.count(1):
        shares = torch.softmax(-signed @ weight, 0)  # normalised by the loss, so that steps do not fade
        weight += 0.5 / step**0.5 * (shares @ signed)
        if step == 20000:
            break
    found = fit_cross_entropy(points, labels)
    target = torch.cat([found.weight[0], found.bias])
    assert float(torch.cosine_similarity(weight, target, dim=0)) == pytest.approx(1, abs=1e-3)


def test_a_margin_that_rounding_hides_is_no_overlap() -> None:
    features, labels = (torch.tensor(values) for values in load_breast_cancer(return_X_y=True))
    with pytest.raises(DivergenceError, match=r"5\.05e-05 or a little more apart"):
        hard_margin_svm(features, labels)


@pytest.mark.parametrize("fit", [hard_margin_svm, cross_entropy_limit, fit_cross_entropy])
def test_classes_that_overlap_have_no_such_margin(fit) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="overlap"):
        fit(*clouds(0, apart=0.0))
    with pytest.raises(DataError, match="overlap"):
        fit(torch.ones(2, 2), torch.arange(2))
    with pytest.raises(DataError, match="two classes, but got 3"):
        fit(torch.eye(3), torch.arange(3))
