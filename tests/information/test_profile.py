import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from retemper.activations import Layers
from retemper.errors import DataError, LayerError, ModelError, SettingError
from retemper.information import QUANTITIES, LayerProfile, effective_rank, profile
from retemper.information.measures import activation_entropy, hard_unit_entropy, renyi_entropy
from retemper.models import create


def tiny() -> nn.Sequential:
    """Two units: relu(x), relu(-x)."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Dropout(0.9), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    return model


def measured(outputs: Tensor, gram_images: int = 1000, replicates: int = 40, seed: int = 0) -> LayerProfile:
    """The profile of a layer with these outputs, one row an image."""
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(outputs[0].numel(), 2))
    batches = [(outputs.float(), torch.zeros(len(outputs)))]
    return profile(model, batches, "0", gram_images=gram_images, replicates=replicates, seed=seed)[0]


def figures(layer: LayerProfile) -> dict[str, float]:
    return {quantity: getattr(layer, quantity) for quantity in QUANTITIES}


def outputs_of(seed: int, images: int = 12, units: int = 9) -> Tensor:
    return torch.randn(images, units, generator=torch.Generator().manual_seed(seed))


IMAGES = torch.tensor([[1.0, 1.0], [3.0, 1.0], [-1.0, -1.0], [-2.0, 5.0]])
LABELS = torch.zeros(4, dtype=torch.int64)


def test_a_tiny_network_measured_by_hand() -> None:
    (layer,) = profile(tiny(), [(IMAGES, LABELS)])
    assert (layer.layer, layer.units, layer.images) == ("1", 2, 4)
    # Outputs (1, 1), (3, 1), (0, 0), (0, 5): five of eight above zero.
    assert layer.active == 5 / 8
    quarter = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert layer.activation_entropy == pytest.approx((math.log(2) + quarter) / 4)
    # The first unit fires on two images of four, the second on three.
    assert layer.unit_entropy == pytest.approx((math.log(2) + quarter) / 2)
    # Centred: (0, -3/4), (2, -3/4), (-1, -7/4), (-1, 13/4), hence [[6, -3], [-3, 59/4]] up to scale.
    half_trace, determinant = (6 + 14.75) / 2, 6 * 14.75 - 9
    root = math.sqrt(half_trace**2 - determinant)
    shares = [(half_trace + root) / (2 * half_trace), (half_trace - root) / (2 * half_trace)]
    assert layer.effective_rank == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)))


def test_every_figure_has_a_maximum_and_stays_below_it() -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=10)
    for layer in profile(model, [(torch.rand(30, 1, 8, 8), torch.zeros(30, dtype=torch.int64))]):
        for name, maximum in layer.maxima.items():
            low, high = layer.interval(name)
            assert 0 <= low <= getattr(layer, name) <= high <= maximum


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_size_of_batches_does_not_matter(size: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(create("lenet5", shape=(1, 8, 8), classes=10), nn.BatchNorm1d(10), nn.Tanh())
    images, labels = torch.rand(7, 1, 8, 8), torch.zeros(7, dtype=torch.int64)
    whole = profile(model, [(images, labels)], gram_images=5)
    parts = profile(model, zip(images.split(size), labels.split(size), strict=True), gram_images=5)
    assert len(whole) == 5
    for one, other in zip(whole, parts, strict=True):
        assert (one.layer, one.units, one.images) == (other.layer, other.units, other.images)
        for name in one.maxima:
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)
            assert one.interval(name) == pytest.approx(other.interval(name), rel=1e-5)


def test_the_model_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    model = tiny()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    (layer,) = profile(model, [(IMAGES, LABELS)], nn.Dropout)
    assert layer.active == 5 / 8
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("layers", "names"), [("0", ["0"]), (nn.Linear, ["0", "3"]), (["1", "3"], ["1", "3"])])
def test_only_the_chosen_layers_are_measured(layers: Layers, names: list[str]) -> None:
    assert [layer.layer for layer in profile(tiny(), [(IMAGES, LABELS)], layers)] == names


def test_a_layer_that_runs_twice_is_measured_twice() -> None:
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 3), act, nn.Linear(3, 5), act, nn.Linear(5, 2))
    first, second = profile(model, [(IMAGES, LABELS), (IMAGES[:1], LABELS[:1])])
    assert (first.layer, first.units, first.images) == ("1", 3, 5)
    assert (second.layer, second.units, second.images) == ("1#2", 5, 5)
    with torch.no_grad():
        expected = effective_rank(model[:4](torch.cat([IMAGES, IMAGES[:1]])))
    assert second.effective_rank == pytest.approx(float(expected))


def test_a_model_with_weights_that_are_no_numbers_is_an_error() -> None:
    model = tiny()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"'0\.weight'"):
        profile(model, [(IMAGES, LABELS)])


def test_layers_that_do_not_exist_are_an_error() -> None:
    with pytest.raises(LayerError, match="conv1"):
        profile(tiny(), [(IMAGES, LABELS)], "conv1")


def test_uniform_and_one_hot_outputs_are_the_extremes() -> None:
    uniform = measured(torch.ones(6, 2, 4))
    assert uniform.activation_entropy == pytest.approx(math.log(8))
    assert (uniform.active, uniform.unit_entropy, uniform.renyi_entropy, uniform.effective_rank) == (1, 0, 0, 0)
    one_hot = measured(torch.eye(8))
    assert one_hot.activation_entropy == 0
    assert one_hot.active == 1 / 8
    assert one_hot.unit_entropy == pytest.approx(-math.log(1 / 8) / 8 - 7 / 8 * math.log(7 / 8))
    assert one_hot.renyi_entropy == pytest.approx(one_hot.maxima["renyi_entropy"])
    assert one_hot.effective_rank == pytest.approx(7)
    silent = measured(torch.zeros(6, 4))
    assert set(figures(silent).values()) == {0.0}
    assert all(silent.interval(quantity) == (0, 0) for quantity in QUANTITIES)


def test_figures_are_those_of_scipy_and_scikit_learn() -> None:
    outputs = outputs_of(0)
    layer = measured(outputs)
    assert layer.activation_entropy == pytest.approx(scipy.stats.entropy(outputs.abs().numpy(), axis=1).mean())
    fired = (outputs > 0).int().numpy()
    assert layer.unit_entropy == pytest.approx(np.mean([mutual_info_score(unit, unit) for unit in fired.T]))


def test_figures_are_those_of_the_measures() -> None:
    outputs = outputs_of(1, images=30)
    layer = measured(outputs, gram_images=20)
    assert layer.activation_entropy == pytest.approx(float(activation_entropy(outputs)))
    assert layer.unit_entropy == pytest.approx(float(hard_unit_entropy(outputs)))
    assert (layer.images, layer.gram_images) == (30, 20)
    assert layer.renyi_entropy == pytest.approx(float(renyi_entropy(outputs[:20].double())))
    assert layer.effective_rank == pytest.approx(float(effective_rank(outputs[:20])))


def test_a_gaussian_of_known_covariance_has_the_rank_of_its_eigenvalues() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([3.0, 2.0, 1.0])
    turn = torch.linalg.qr(torch.randn(5, 3, generator=generator))[0].T
    layer = measured(torch.randn(1000, 3, generator=generator) * scales @ turn + 7, replicates=200)
    shares = scales.square() / 14
    expected = float((-(shares * shares.log()).sum()).exp())
    low, high = layer.interval("effective_rank")
    assert low < expected < high
    assert high - low < 0.2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2.0**-20, 0.5, 8.0, 2.0**20]))
def test_scaling_a_layer_changes_nothing(seed: int, factor: float) -> None:
    outputs = outputs_of(seed)
    assert figures(measured(factor * outputs)) == pytest.approx(figures(measured(outputs)), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(9)), st.permutations(range(12)))
def test_the_order_of_units_and_images_changes_nothing(seed: int, units: list[int], images: list[int]) -> None:
    outputs = outputs_of(seed)
    assert figures(measured(outputs[:, units])) == pytest.approx(figures(measured(outputs)), rel=1e-5)
    assert figures(measured(outputs[images])) == pytest.approx(figures(measured(outputs)), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.floats(0, 5))
def test_no_figure_and_no_interval_leaves_its_bounds(
    seed: int, images: int, units: int, rectified: bool, tail: float
) -> None:
    outputs = outputs_of(seed, images, units)
    outputs = outputs.sign() * outputs.abs() ** tail
    layer = measured(outputs.relu() if rectified else outputs)
    for quantity, maximum in layer.maxima.items():
        assert -1e-6 <= getattr(layer, quantity) <= maximum + 1e-6
        low, high = layer.interval(quantity)
        assert 0 <= low <= high + 1e-6 <= maximum + 1e-6


def test_intervals_cover_the_figure_of_as_many_other_images() -> None:
    # Most of all the unit entropy's: that of a resample lies below its interval for forty units.
    rotation = outputs_of(0, images=5, units=40)
    found = [
        measured((outputs_of(seed, 100, 5) @ rotation - 1).relu(), replicates=100, seed=seed) for seed in range(100)
    ]
    for quantity in QUANTITIES:
        typical = np.mean([getattr(layer, quantity) for layer in found])
        ends = [layer.interval(quantity) for layer in found]
        covered = np.mean([low <= typical <= high for low, high in ends])
        assert covered >= 0.87, quantity


def test_means_over_images_have_the_interval_of_the_textbook() -> None:
    outputs = outputs_of(5, images=300)
    layer = measured(outputs, replicates=1000)
    entropies = scipy.stats.entropy(outputs.abs().numpy(), axis=1)
    for quantity, each in [("activation_entropy", entropies), ("active", (outputs > 0).float().mean(1).numpy())]:
        half = 1.96 * each.std() / math.sqrt(300)
        np.testing.assert_allclose(layer.interval(quantity), [each.mean() - half, each.mean() + half], atol=0.15 * half)


def test_intervals_hang_on_the_seed_alone() -> None:
    outputs = outputs_of(3, images=50)
    torch.manual_seed(0)
    first = measured(outputs)
    second, other = measured(outputs), measured(outputs, seed=1)
    for quantity in QUANTITIES:
        assert first.interval(quantity) == second.interval(quantity) != other.interval(quantity)


def test_the_global_generator_is_left_alone() -> None:
    model = tiny()
    before = torch.random.get_rng_state()
    profile(model, [(IMAGES, LABELS)])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_replicates_the_figures_are_the_same() -> None:
    outputs = outputs_of(4)
    assert measured(outputs, replicates=0) == measured(outputs)
    assert measured(outputs, replicates=0).replicates == {}


def test_no_images_are_an_error() -> None:
    with pytest.raises(DataError, match="at least one image"):
        profile(tiny(), [])


@pytest.mark.parametrize(("gram_images", "replicates"), [(1, 200), (1000, -1), (1000, 39)])
def test_settings_that_cannot_be_are_an_error(gram_images: int, replicates: int) -> None:
    with pytest.raises(SettingError, match=f"{gram_images} and {replicates}"):
        profile(tiny(), [(IMAGES, LABELS)], gram_images=gram_images, replicates=replicates)


def test_a_seed_that_cannot_be_is_an_error() -> None:
    with pytest.raises(SettingError, match="`seed`"):
        profile(tiny(), [(IMAGES, LABELS)], seed=-1)
