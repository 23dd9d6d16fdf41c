import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from retemper.information import MEASURES
from retemper.information.measures import (
    activation_entropy,
    hard_unit_entropy,
    renyi_entropy,
    softmax_entropy,
    unit_entropy,
)

Rows = list[list[float]]
ENTROPIES: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: measure.entropy for name, measure in MEASURES.items()},
    "hard unit": hard_unit_entropy,
}
MAXIMA: dict[str, Callable[[int, int], float]] = {
    **{name: measure.maximum for name, measure in MEASURES.items()},
    "hard unit": lambda _images, _units: math.log(2),
}
SCALE_FREE = ["activation", "unit", "hard unit", "renyi", "gaussian", "effective-rank"]


def loop_entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)


def loop_activation(rows: Rows) -> float:
    entropies = []
    for row in rows:
        total = sum(abs(value) for value in row)
        entropies.append(loop_entropy([abs(value) / total for value in row]) if total else 0.0)
    return sum(entropies) / len(entropies)


def loop_softmax(rows: Rows) -> float:
    entropies = []
    for row in rows:
        weights = [math.exp(value - max(row)) for value in row]
        entropies.append(loop_entropy([weight / sum(weights) for weight in weights]))
    return sum(entropies) / len(entropies)


def loop_scale(rows: Rows) -> float:
    values = [value for row in rows for value in row]
    return math.sqrt(sum(value * value for value in values) / len(values))


def loop_unit(rows: Rows, scale: float | None = None) -> float:
    scale = loop_scale(rows) if scale is None else scale
    entropies = []
    for unit in zip(*rows, strict=True):
        rate = sum(1 - math.exp(-max(value, 0) / scale) for value in unit) / len(unit)
        entropies.append(loop_entropy([rate, 1 - rate]))
    return sum(entropies) / len(entropies)


def loop_hard_unit(rows: Rows) -> float:
    entropies = []
    for unit in zip(*rows, strict=True):
        rate = sum(value > 0 for value in unit) / len(unit)
        entropies.append(loop_entropy([rate, 1 - rate]))
    return sum(entropies) / len(entropies)


def loop_renyi(rows: Rows) -> float:
    distances = [sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) for one in rows for other in rows]
    bandwidth = sum(distances) / len(distances)
    return -math.log(sum((math.exp(-one / (2 * bandwidth)) / len(rows)) ** 2 for one in distances))


def loop_centred(rows: Rows) -> Rows:
    means = [sum(unit) / len(rows) for unit in zip(*rows, strict=True)]
    return [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]


def loop_gaussian(rows: Rows) -> float:
    units = [list(unit) for unit in zip(*loop_centred(rows), strict=True)]
    variances = [sum(value * value for value in unit) / len(unit) for unit in units]
    floor = 1e-3 * sum(variances) / len(variances)
    roots = [math.sqrt(variance + floor) for variance in variances]
    covariance = [
        [
            sum(a * b for a, b in zip(one, other, strict=True)) / len(rows) / (root * other_root)
            for other, other_root in zip(units, roots, strict=True)
        ]
        for one, root in zip(units, roots, strict=True)
    ]
    return 0.5 * float(np.log(np.linalg.det(np.eye(len(units)) + np.array(covariance))))


def loop_effective_rank(rows: Rows) -> float:
    squares = [value * value for value in np.linalg.svd(np.array(loop_centred(rows)), compute_uv=False).tolist()]
    return loop_entropy([square / sum(squares) for square in squares])


LOOPS: dict[str, Callable[[Rows], float]] = {
    "activation": loop_activation,
    "softmax": loop_softmax,
    "unit": loop_unit,
    "hard unit": loop_hard_unit,
    "renyi": loop_renyi,
    "gaussian": loop_gaussian,
    "effective-rank": loop_effective_rank,
}


@pytest.mark.parametrize("name", ENTROPIES)
def test_every_measure_agrees_with_a_plain_loop(name: str) -> None:
    activations = torch.randn(7, 5, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    activations[2, 1] = 0
    expected = LOOPS[name](activations.flatten(1).tolist())
    assert float(ENTROPIES[name](activations)) == pytest.approx(expected, rel=1e-12)
    assert float(ENTROPIES[name](activations.float())) == pytest.approx(expected, rel=2e-5)


def test_shannon_entropies_agree_with_scipy() -> None:
    activations = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = activations.numpy()
    assert float(activation_entropy(activations)) == pytest.approx(stats.entropy(np.abs(values), axis=1).mean())
    assert float(softmax_entropy(activations)) == pytest.approx(stats.entropy(np.exp(values), axis=1).mean())
    rates = (values > 0).mean(0)
    assert float(hard_unit_entropy(activations)) == pytest.approx(stats.entropy([rates, 1 - rates], axis=0).mean())


@pytest.mark.parametrize("units", [1, 2, 10, 1000])
def test_equal_activations_have_the_largest_entropy(units: int) -> None:
    activations = torch.full((3, units), 0.7)
    for name in ("activation", "softmax"):
        assert float(ENTROPIES[name](activations)) == pytest.approx(math.log(units), abs=1e-5)
        assert MAXIMA[name](3, units) == math.log(units)


def test_one_active_unit_has_no_entropy() -> None:
    activations = torch.zeros(2, 10)
    activations[0, 3], activations[1, 7] = 1e-3, -50.0
    assert float(activation_entropy(activations)) == pytest.approx(0, abs=1e-6)
    assert float(softmax_entropy(1e4 * activations.abs() ** 0.5)) == pytest.approx(0, abs=1e-6)


def test_two_equally_active_units_have_an_entropy_of_log_2() -> None:
    activations = torch.tensor([[0.0, 3.0, 0.0, -3.0], [0.2, 0.2, 0.0, 0.0]])
    assert float(activation_entropy(activations)) == pytest.approx(math.log(2))


def test_images_count_equally_whatever_their_size() -> None:
    activations = torch.tensor([[1000.0, 0.0, 0.0, 0.0], [0.001, 0.001, 0.001, 0.001]])
    assert float(activation_entropy(activations)) == pytest.approx(math.log(4) / 2, rel=1e-6)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_a_layer_that_is_all_zero_has_no_entropy(name: str) -> None:
    assert float(ENTROPIES[name](torch.zeros(4, 6))) == pytest.approx(0, abs=1e-6)


def test_units_that_fire_on_half_of_the_images_have_the_largest_entropy() -> None:
    half = torch.tensor([[1.0, -1.0], [0.5, -2.0], [-1.0, 3.0], [0.0, 3.0]])
    assert float(hard_unit_entropy(half)) == pytest.approx(math.log(2))
    assert float(hard_unit_entropy(half.abs() + 1)) == pytest.approx(0, abs=1e-12)
    # Activations 0 and s sqrt(2), for a root mean square of s.
    soft = torch.tensor([[0.0], [1.0]]) * 1e3
    rate = (1 - math.exp(-math.sqrt(2))) / 2
    assert float(unit_entropy(soft)) == pytest.approx(loop_entropy([rate, 1 - rate]), rel=1e-6)


@pytest.mark.parametrize(("images", "units"), [(20, 7), (5, 100), (17, 33), (3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_images_have_a_renyi_entropy_of_zero(images: int, units: int, dtype: torch.dtype) -> None:
    image = 10 * torch.randn(1, units, generator=torch.Generator().manual_seed(units), dtype=dtype)
    assert float(renyi_entropy(image.repeat(images, 1))) == pytest.approx(0, abs=1e-6)


def test_renyi_of_two_groups_far_within_one_another_is_known() -> None:
    # Two groups of N / 2 at squared distance d: the mean is d / 2, the kernel between them exp(-1).
    activations = torch.tensor([[0.0, 5.0]] * 4 + [[3.0, 1.0]] * 4)
    assert float(renyi_entropy(activations)) == pytest.approx(-math.log((1 + math.exp(-2)) / 2), rel=1e-6)


@pytest.mark.parametrize("images", [2, 3, 10, 128])
def test_images_that_are_all_equally_far_apart_have_the_largest_renyi_entropy(images: int) -> None:
    apart = 3 * torch.eye(images, dtype=torch.float64)
    assert float(renyi_entropy(apart)) == pytest.approx(MAXIMA["renyi"](images, images), rel=1e-9)
    assert MAXIMA["renyi"](images, images) < 1


def test_a_single_image_can_have_no_renyi_entropy() -> None:
    assert MAXIMA["renyi"](1, 5) == 0


def test_renyi_does_not_lose_its_digits_far_from_the_origin() -> None:
    activations = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    moved = activations + 256
    assert float(renyi_entropy(moved)) == pytest.approx(float(renyi_entropy(moved.double())), rel=1e-5)


def test_renyi_keeps_its_digits_under_autocast() -> None:
    activations = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) + 100
    with torch.autocast("cpu", torch.bfloat16):
        assert float(renyi_entropy(activations)) == pytest.approx(float(renyi_entropy(activations.double())), rel=1e-5)


finite = st.floats(-100, 100, width=32).map(lambda value: value if abs(value) > 1e-3 else 0.0)
matrices = st.integers(1, 6).flatmap(
    lambda units: st.lists(st.lists(finite, min_size=units, max_size=units), min_size=1, max_size=6)
)


@pytest.mark.parametrize("name", ENTROPIES)
@given(rows=matrices)
@settings(max_examples=60, deadline=None)
def test_an_entropy_lies_between_zero_and_its_maximum(name: str, rows: Rows) -> None:
    activations = torch.tensor(rows)
    value = float(ENTROPIES[name](activations))
    assert -1e-5 <= value <= MAXIMA[name](*activations.shape) + 1e-5


@pytest.mark.parametrize("name", SCALE_FREE)
@given(rows=matrices, scale=st.floats(1e-4, 1e4))
@settings(max_examples=60, deadline=None)
def test_scaling_a_layer_leaves_its_entropy(name: str, rows: Rows, scale: float) -> None:
    activations = torch.tensor(rows, dtype=torch.float64)
    measured, scaled = (float(ENTROPIES[name](layer)) for layer in (activations, scale * activations))
    assert scaled == pytest.approx(measured, abs=1e-9)


@pytest.mark.parametrize("name", ENTROPIES)
@given(rows=matrices, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_order_of_units_and_images_does_not_matter(name: str, rows: Rows, seed: int) -> None:
    activations = torch.tensor(rows, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    images, units = (torch.randperm(count, generator=generator) for count in activations.shape)
    shuffled = activations[images][:, units]
    assert float(ENTROPIES[name](shuffled)) == pytest.approx(float(ENTROPIES[name](activations)), abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_gradients_are_finite_and_small_for_dead_units_images_and_layers(name: str) -> None:
    before = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    before[:, 2] = -1.0  # a dead unit
    before[4] = -1.0  # a dead image
    for layer in (before, -before.abs()):
        for relu in (torch.relu, lambda inputs: inputs.clamp_min(0)):
            inputs = layer.clone().requires_grad_()
            MEASURES[name].entropy(relu(inputs)).backward()
            assert inputs.grad is not None
            assert inputs.grad.isfinite().all()
        # Also where nothing behind the entropy stops a gradient at zero.
        zeros = layer.clamp_min(0).requires_grad_()
        MEASURES[name].entropy(zeros).backward()
        assert zeros.grad is not None
        assert zeros.grad.abs().max() < 10


def away_from_kinks() -> Tensor:
    """Activations of both signs, none near zero."""
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (values + 0.3 * values.sign()).requires_grad_()


@pytest.mark.parametrize("name", ["activation", "softmax", "renyi", "gaussian", "effective-rank"])
def test_gradients_are_those_of_the_value(name: str) -> None:
    assert torch.autograd.gradcheck(MEASURES[name].entropy, (away_from_kinks(),))


@pytest.mark.parametrize("name", ["activation", "renyi", "gaussian", "effective-rank"])
def test_gradients_do_not_pull_on_the_scale(name: str) -> None:
    activations = away_from_kinks()
    MEASURES[name].entropy(activations).backward()
    assert activations.grad is not None
    assert (activations.grad * activations).sum().item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_of_the_unit_entropy_holds_the_scale_constant() -> None:
    activations = away_from_kinks()
    rows = activations.tolist()
    scale = loop_scale(rows)
    unit_entropy(activations).backward()
    assert activations.grad is not None
    step = 1e-6
    for image in range(5):
        for unit in range(4):
            values = []
            for sign in (1, -1):
                moved = [list(row) for row in rows]
                moved[image][unit] += sign * step
                values.append(loop_unit(moved, scale))
            difference = (values[0] - values[1]) / (2 * step)
            assert float(activations.grad[image, unit]) == pytest.approx(difference, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ENTROPIES)
def test_half_precision_is_summed_in_float32(name: str, dtype: torch.dtype) -> None:
    activations = torch.randn(6, 3000, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = ENTROPIES[name](activations)
    assert found.dtype in (torch.float32, torch.float64)
    assert torch.equal(found, ENTROPIES[name](activations.float()))
