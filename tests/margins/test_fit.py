from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from retemper.data import Split
from retemper.data.digits import read_digits
from retemper.errors import DataError, ModelError, SettingError
from retemper.margins import cross_entropy_limit, fit_last_layer, fit_margin, hard_margin_svm
from retemper.models import create, predict
from retemper.objectives.pairs import pair_loss


def known(seed: int, dimensions: int, half: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points whose largest margin is `half`: two that face each other hold it, all others lie further out.

    Returns:
        The points, their labels, and the direction from class 0 to class 1.
    """
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(30, dimensions, generator=generator, dtype=torch.float64)
    labels = torch.arange(30) % 2
    points[:, 0] = (2 * labels - 1) * (half + points[:, 0].abs())
    points[0], points[1] = 0, 0
    points[0, 0], points[1, 0] = -half, half
    turn = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)).Q
    return points @ turn.T, labels, turn[:, 0]


def digits(*wanted: int) -> tuple[Tensor, Tensor]:
    split = read_digits().splits["train"]
    kept = torch.isin(split.labels, torch.tensor(wanted))
    return split.inputs[kept].flatten(1), torch.searchsorted(torch.tensor(wanted), split.labels[kept])


@given(st.integers(0, 10**6), st.integers(2, 40), st.floats(0.01, 10))
@settings(deadline=None, max_examples=15)
def test_the_margin_known_by_construction_is_reached(seed: int, dimensions: int, half: float) -> None:
    points, labels, direction = known(seed, dimensions, half)
    found = fit_margin(points, labels)
    assert found.separable
    assert found.margin == pytest.approx(half, rel=2e-6)
    assert float(found.weight[0] @ direction / found.weight.norm()) == pytest.approx(1, abs=1e-5)


@given(st.integers(0, 10**6), st.floats(0.1, 20), st.floats(-100, 100))
@settings(deadline=None, max_examples=8)
def test_moving_points_changes_no_weight_and_stretching_them_stretches_the_margin(
    seed: int, stretch: float, move: float
) -> None:
    points, labels, _ = known(seed, 5, 0.5)
    first, second = fit_margin(points, labels), fit_margin(stretch * points + move, labels)
    assert second.margin == pytest.approx(stretch * first.margin, rel=1e-5)
    torch.testing.assert_close(second.weight * stretch, first.weight, rtol=1e-2, atol=1e-2)


def test_the_closest_points_have_scores_one_and_minus_one() -> None:
    points, labels, _ = known(0, 6, 0.3)
    found = fit_margin(points, labels)
    scores = (points @ found.weight.T + found.bias)[:, 0]
    assert float(scores[labels == 1].min()) == pytest.approx(1)
    assert float(scores[labels == 0].max()) == pytest.approx(-1)
    assert found.margin == pytest.approx(1 / float(found.weight.norm()))


def test_digits_3_and_8_have_the_svms_margin() -> None:
    points, labels = digits(3, 8)
    assert fit_margin(points, labels).margin >= 0.9999 * hard_margin_svm(points, labels).margin


def test_more_features_than_points() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(20, 100, generator=generator, dtype=torch.float64) + 3
    labels = torch.arange(20) % 2
    assert fit_margin(points, labels).margin >= 0.9999 * hard_margin_svm(points, labels).margin


def test_overlapping_classes_get_the_finite_weights_of_least_pair_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    points = torch.randn(80, 3, generator=generator, dtype=torch.float64) + labels[:, None] * 0.7
    found = fit_margin(points, labels)
    assert not found.separable
    weight = found.weight[0].clone().requires_grad_()
    loss = pair_loss(points[labels == 1] @ weight, points[labels == 0] @ weight)
    loss.backward()
    assert weight.grad is not None
    assert float(weight.grad.norm()) < 1e-6
    # By looking at each pair, elsewhere it is larger.
    differences = (points[labels == 1][:, None] - points[labels == 0]).reshape(-1, 3)
    for move in 0.1 * torch.randn(10, 3, generator=generator, dtype=torch.float64):
        assert float(torch.log1p((-differences @ (found.weight[0] + move)).exp()).mean()) > loss.item()


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([[0, 0], [1, 0], [0, 1], [1, 1]], [0, 1, 1, 0]),  # the hulls cross
        ([[0, 0], [1, 0], [1, 0], [2, 1]], [0, 0, 1, 1]),  # they touch
        ([[1, 1], [1, 1]], [0, 1]),  # they are one point
    ],
)
def test_no_margin_is_claimed_where_there_is_none(points: list[list[int]], labels: list[int]) -> None:
    found = fit_margin(torch.tensor(points).double(), torch.tensor(labels))
    assert not found.separable
    assert found.weight.isfinite().all()


def test_classes_that_are_near_for_their_extent_are_separated_as_any_others() -> None:
    """Raw measurements in units of their own: a gap of a hundred-millionth of the largest difference."""
    features, labels = (torch.tensor(values) for values in load_breast_cancer(return_X_y=True))
    found = fit_margin(features, labels)
    assert found.separable
    by_another = cross_entropy_limit(features, labels)
    assert by_another.separable
    assert found.margin > by_another.margin
    # No direction has a wider gap: whitened, which spreads digits evenly, the same search ends nearby.
    scores = features @ found.weight[0]
    gap = scores[labels == 1].min() - scores[labels == 0].max()
    assert float(gap / found.weight.norm() / 2) == pytest.approx(found.margin, rel=1e-6)
    assert found.margin == pytest.approx(4.137e-5, rel=1e-3)


def test_three_classes_are_separated_as_far_as_their_joint_weights_allow() -> None:
    # At the corners of an equilateral triangle each boundary is half a side away.
    corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3**0.5]], dtype=torch.float64)
    found = fit_margin(corners, torch.arange(3))
    assert found.weight.shape == (3, 2)
    assert found.margin == pytest.approx(1, rel=1e-4)
    points, labels = digits(0, 1, 4)
    separated = fit_margin(points, labels)
    assert separated.separable
    assert ((points.double() @ separated.weight.T + separated.bias).argmax(1) == labels).all()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.zeros(3), torch.arange(3), r"\(images, features\)"),
        (torch.zeros(3, 2), torch.arange(2), r"\(3, 2\) and \(2,\)"),
        (torch.tensor([[0.0], [torch.nan]]), torch.arange(2), "1 of 2 rows hold NaN"),
        (torch.eye(2), torch.tensor([1, 1]), r"got \[1\]"),
        (torch.eye(2), torch.tensor([0, 2]), r"got \[0, 2\]"),
        (torch.eye(2), torch.tensor([0.0, 1.0]), "float32"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(features: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_margin(features, labels)


def test_a_tolerance_that_cannot_be_is_an_error() -> None:
    with pytest.raises(SettingError, match="between 0 and 1, but got 0"):
        fit_margin(torch.eye(2), torch.arange(2), tolerance=0)


@pytest.mark.parametrize("wanted", [(3, 8), (0, 1, 4)])
def test_the_last_layer_alone_changes_and_gives_the_fitted_scores(wanted: tuple[int, ...]) -> None:
    points, labels = digits(*wanted)
    split = Split(points.reshape(-1, 1, 8, 8), labels)
    torch.manual_seed(0)
    model = create("mlp", shape=(1, 8, 8), classes=len(wanted))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = fit_last_layer(model, split)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"logits.weight", "logits.bias"}
    assert found.separable
    scores, _ = predict(model, split.batches(100))
    assert (scores.argmax(1) == labels).all()
    if len(wanted) == 2:
        ends = (scores[:, 1] - scores[:, 0]).numpy()
        assert ends[labels == 1].min() == pytest.approx(1, abs=1e-3)
        assert ends[labels == 0].max() == pytest.approx(-1, abs=1e-3)
        assert np.isfinite(ends).all()


@pytest.mark.parametrize("makes", [parametrizations.weight_norm, nn.utils.spectral_norm, parametrizations.orthogonal])
def test_a_last_layer_that_makes_its_weight_of_others_is_refused_and_stays(
    makes: Callable[[nn.Module], nn.Module],
) -> None:
    points, labels = digits(3, 8)
    model = nn.Sequential(nn.Flatten(), makes(nn.Linear(64, 2)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match="makes the weight of its own out of others"):
        fit_last_layer(model, Split(points.reshape(-1, 1, 8, 8), labels))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_class_without_images_cannot_be_fitted() -> None:
    model = create("mlp", shape=(1, 8, 8), classes=3)
    points, labels = digits(3, 8)
    with pytest.raises(DataError, match="every class that Network knows"):
        fit_last_layer(model, Split(points.reshape(-1, 1, 8, 8), labels))
