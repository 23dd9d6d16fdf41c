import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import ModelError
from retemper.models import create, predict
from retemper.objectives import CrossEntropy, Differential, PGDTraining, fit_biases
from retemper.objectives.biases import class_shifts, threshold_shift
from retemper.threats import Linf

labelled = st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 1)), min_size=1, max_size=12)
THREE = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.5], [2.0, 1.5, 0.0]])


def wrong(scores: list[int], labels: list[int], threshold: float) -> int:
    return sum((score > threshold) != (label == 1) for score, label in zip(scores, labels, strict=True))


def threshold(scores: list[Any], labels: list[int]) -> float:
    return -threshold_shift(np.array(scores, dtype=np.float64), np.array(labels))


def gap(scores: np.ndarray, labels: np.ndarray, distances: np.ndarray, shifts: np.ndarray) -> float:
    """The smallest of (z_y + b_y - z_k - b_k) / ||w_y - w_k||, by a loop."""
    shifted = scores + shifts
    return min(
        (shifted[i, label] - shifted[i, other]) / distances[label, other]
        for i, label in enumerate(labels)
        for other in range(scores.shape[1])
        if other != label
    )


def accuracy(model: nn.Module, split: Split) -> float:
    scores, labels = predict(model, split.batches(100))
    return (scores.argmax(1) == labels).double().mean().item()


def linear(outputs: int, *, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, outputs, bias=bias))


def points(classes: int, count: int = 60) -> Split:
    """Overlapping clouds of points."""
    generator = torch.Generator().manual_seed(classes)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, 2, generator=generator)
    return Split(centres[labels] + 0.5 * torch.randn(count, 2, generator=generator), labels)


def test_separable_scores_are_parted_halfway_between_the_closest() -> None:
    assert threshold([-5.0, 1.0, 4.0, 100.0], [0, 0, 1, 1]) == 2.5
    assert threshold([4.0, -5.0, 100.0, 1.0], [1, 0, 1, 0]) == 2.5


def test_a_separating_threshold_is_that_of_the_hard_margin_svm() -> None:
    from sklearn.svm import SVC

    scores = np.array([-3.0, -1.0, 0.2, 1.5, 2.0, 7.0])
    labels = np.array([0, 0, 0, 1, 1, 1])
    machine = SVC(kernel="linear", C=1e8).fit(scores[:, None], labels)
    svm = -machine.intercept_[0] / machine.coef_[0, 0]
    assert -threshold_shift(scores, labels) == pytest.approx(svm)
    shifts = class_shifts(np.stack([0 * scores, scores], axis=1), labels, 1 - np.eye(2))
    assert shifts[0] - shifts[1] == pytest.approx(svm)


@given(labelled)
@settings(deadline=None)
def test_no_threshold_has_fewer_training_errors(rows: list[tuple[int, int]]) -> None:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    least = min(wrong(scores, labels, candidate + 0.5) for candidate in range(-8, 8))
    assert wrong(scores, labels, threshold(scores, labels)) == least


@given(labelled)
@settings(deadline=None)
def test_ties_go_to_the_widest_gap_between_scores_and_then_to_the_lowest(rows: list[tuple[int, int]]) -> None:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    found = threshold(scores, labels)
    inner = [
        (low - high, (low + high) / 2)  # widest first, then lowest
        for low, high in itertools.pairwise(sorted(set(scores)))
        if wrong(scores, labels, (low + high) / 2) == wrong(scores, labels, found)
    ]
    if inner:
        assert found == min(inner)[1]
    else:
        ends = [min(scores) - 0.5, max(scores) + 0.5]
        assert found < min(scores) or found > max(scores)
        if wrong(scores, labels, ends[0]) == wrong(scores, labels, ends[1]):
            assert found < min(scores)


@given(labelled, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_images_does_not_matter(rows: list[tuple[int, int]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert threshold(*map(list, zip(*rows, strict=True))) == threshold(*map(list, zip(*shuffled, strict=True)))


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([1, 3], [1, 1], 0),  # half the range of 2 below the lowest
        ([1, 3], [0, 0], 4),
        ([5, 5, 5], [0, 0, 1], 5.5),  # equal scores: the larger class, by 1/2
        ([5, 5, 5], [0, 1, 1], 4.5),
        ([5, 5], [0, 1], 4.5),
        ([5], [0], 5.5),
        ([1, 3], [1, 0], 0),  # upside down: one class throughout has one error, the gap two
    ],
)
def test_where_no_gap_is_best_one_class_is_answered_throughout(
    scores: list[int], labels: list[int], expected: float
) -> None:
    assert threshold(scores, labels) == expected


@pytest.mark.parametrize("seed", range(5))
def test_three_classes_get_the_widest_normalised_gap(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.arange(30) % 3
    # Each class's own score is high, and then all scores are moved by shifts that have to be found again.
    scores = generator.normal(size=(30, 3)) + 6 * np.eye(3)[labels] + [0.0, 4.0, -7.0]
    shifts = class_shifts(scores, labels, THREE)
    found = gap(scores, labels, THREE, shifts)
    assert found > 0
    assert ((scores + shifts).argmax(1) == labels).all()
    grid = np.linspace(-0.5, 0.5, 81)
    around = max(
        gap(scores, labels, THREE, shifts + np.array([0.0, first, second]))
        for first, second in itertools.product(grid, grid)
    )
    coarse = max(
        gap(scores, labels, THREE, np.array([0.0, first, second]))
        for first, second in itertools.product(np.linspace(-15, 15, 61), repeat=2)
    )
    assert around <= found + 1e-6
    assert found - 1.0 < coarse <= found + 1e-6


def test_the_gap_is_in_units_of_the_distance_of_the_weight_vectors() -> None:
    # Only pair (0, 1) decides; between 0 and 2 as between 1 and 2 there is room to spare.
    scores = np.array([[0.0, -1.0, -90.0], [0.0, 5.0, -90.0], [0.0, 0.0, 90.0]])
    shifts = class_shifts(scores, np.array([0, 1, 2]), THREE)
    assert gap(scores, np.array([0, 1, 2]), THREE, shifts) == pytest.approx(3.0)
    assert shifts[1] - shifts[0] == pytest.approx(-2.0)


def cross_entropy(scores: np.ndarray, labels: np.ndarray, shifts: np.ndarray) -> float:
    return -np.log(softmax(scores + shifts, axis=1)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_classes_get_the_shifts_of_least_cross_entropy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, size=80, p=[0.4, 0.3, 0.2, 0.1])
    scores = generator.normal(size=(80, 4)) + np.eye(4)[labels] + [0.0, 5.0, -5.0, 2.0]
    shifts = class_shifts(scores, labels, 1 - np.eye(4))
    shares = np.bincount(labels, minlength=4) / 80
    assert softmax(scores + shifts, axis=1).mean(0) == pytest.approx(shares, abs=1e-5)
    least = cross_entropy(scores, labels, shifts)
    for direction in generator.normal(size=(20, 4)):
        assert cross_entropy(scores, labels, shifts + 0.1 * direction) >= least


def test_classes_with_equal_weight_vectors_count_as_overlapping() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2])
    scores = np.array([[1.0, 1.0, -9.0]] * 3 + [[-9.0, -9.0, 9.0]] * 3)
    distances = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    for chosen in (distances, np.zeros((3, 3))):
        shifts = class_shifts(scores, labels, chosen)
        # The score is the same, so that only the class shares speak: two to one.
        assert shifts[1] - shifts[0] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("present", [[0, 1], [2]])
def test_classes_without_images_do_no_harm(present: list[int]) -> None:
    labels = np.array(present * 5)
    scores = 4 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(len(labels), 3))
    shifts = class_shifts(scores, labels, THREE)
    assert np.isfinite(shifts).all()
    assert ((scores + shifts).argmax(1) == labels).all()


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
def test_only_the_last_bias_is_touched(outputs: int) -> None:
    model, train = linear(outputs), points(max(outputs, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[0].eval()
    fit_biases(model, train)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["2.bias"]
    assert [module.training for module in model] == [False, True, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert model[2].bias.requires_grad
    assert model[2].bias.grad is None


def test_running_statistics_stay_and_dropout_is_off() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 50), nn.Dropout(0.9), nn.Linear(50, 3))
    twin = copy.deepcopy(model)
    for one in (model, twin):
        fit_biases(one, points(3))
        assert one[0].num_batches_tracked.item() == 0
    assert torch.equal(model[3].bias, twin[3].bias)


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
def test_what_the_biases_were_before_does_not_matter(outputs: int) -> None:
    model, train = linear(outputs), points(max(outputs, 2))
    fit_biases(model, train)
    first, _ = predict(model, train.batches(7))
    with torch.no_grad():
        model[2].bias.add_(torch.linspace(-3, 5, outputs))
    fit_biases(model, train, batch_size=11)
    second, _ = predict(model, train.batches(7))
    torch.testing.assert_close(first.softmax(1), second.softmax(1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("outputs", [1, 2])
def test_two_classes_get_the_threshold_of_their_score(outputs: int) -> None:
    model, train = linear(outputs), points(2)
    scores, labels = predict(model, train.batches(100))
    before = (scores[:, 1] - scores[:, 0]).double().numpy()
    fit_biases(model, train)
    scores, _ = predict(model, train.batches(100))
    expected = before + threshold_shift(before, labels.numpy())
    assert (scores[:, 1] - scores[:, 0]).numpy() == pytest.approx(expected, abs=1e-5)
    ones, zeros = expected > 0, labels.numpy() == 0
    assert accuracy(model, train) == (ones != zeros).mean()


def test_more_classes_get_the_shifts_for_their_weight_vectors() -> None:
    model = nn.Sequential(nn.Linear(3, 3)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
        model[0].bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
    train = Split(torch.eye(3, dtype=torch.float64), torch.arange(3))
    scores, labels = predict(model, train.batches(3))
    distances = np.array([[0.0, 5**0.5, 10**0.5], [5**0.5, 0.0, 13**0.5], [10**0.5, 13**0.5, 0.0]])
    expected = scores.numpy() + class_shifts(scores.numpy(), labels.numpy(), distances)
    fit_biases(model, train)
    assert predict(model, train.batches(3))[0].numpy() == pytest.approx(expected, abs=1e-9)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) * 2


@pytest.mark.parametrize(
    "model",
    [
        linear(3, bias=False),
        nn.Sequential(nn.Linear(2, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)),
        nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 3, 1), nn.Flatten()),
        Scaled(),
    ],
    ids=["no bias", "nonlinearity", "normalisation", "convolution", "scaled"],
)
def test_a_model_that_does_not_end_in_a_linear_layer_with_a_bias_is_an_error(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"not the output of an nn\.Linear with a bias"):
        fit_biases(model, points(3))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_differential_network_classifies_digits_once_its_biases_are_settled(digits: Split) -> None:
    torch.manual_seed(0)
    model = create("mlp", shape=(1, 8, 8), classes=10)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    objective = 1 * Differential()
    for _ in range(5):
        for inputs, labels in digits.batches(60):
            optimiser.zero_grad()
            objective(model, inputs, labels).backward()
            optimiser.step()
    with torch.no_grad():
        model.logits.bias.copy_(40 * torch.randn(10))
    assert accuracy(model, digits) < 0.4
    PGDTraining(Linf(0.1), objective).settle(model, digits)
    assert accuracy(model, digits) > 0.95


def test_other_objectives_leave_the_biases_alone(digits: Split) -> None:
    model = create("mlp", shape=(1, 8, 8), classes=10)
    before = model.logits.bias.detach().clone()
    (2 * CrossEntropy()).settle(model, digits)
    assert torch.equal(model.logits.bias, before)
