from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from retemper.errors import LayerError, SettingError
from retemper.information import QUANTITIES, LayerProfile, changes, difference, profile
from retemper.models import create

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(seed: int, hidden: str = "small-cnn") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(hidden, shape=(1, 8, 8), classes=10)


def measured(model: nn.Module, images: int = 40, replicates: int = 100, seed: int = 0) -> list[LayerProfile]:
    batches = [(IMAGES[:images], torch.zeros(images))]
    return profile(model, batches, gram_images=30, replicates=replicates, seed=seed)


def test_a_network_does_not_differ_from_itself() -> None:
    for layer in difference(measured(network(0)), measured(network(0))):
        assert set(layer.values) == set(layer.shares) == set(QUANTITIES)
        for estimate in (*layer.values.values(), *layer.shares.values()):
            assert (estimate.value, estimate.interval) == (0, (0, 0))


def test_differences_are_ours_minus_theirs_and_turn_their_sign() -> None:
    ours, theirs = measured(network(0)), measured(network(1))
    there, back = difference(ours, theirs), difference(theirs, ours)
    for our, their, one, other in zip(ours, theirs, there, back, strict=True):
        assert (one.layer, one.reference) == (our.layer, their.layer)
        for quantity in QUANTITIES:
            gap = getattr(our, quantity) - getattr(their, quantity)
            assert one.values[quantity].value == gap == -other.values[quantity].value
            assert one.shares[quantity].value == pytest.approx(gap / our.maxima[quantity])
            low, high = one.values[quantity].interval
            assert other.values[quantity].interval == pytest.approx((-high, -low))
            assert low <= gap <= high


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_intervals_of_a_difference_are_paired(quantity: str) -> None:
    ours, theirs = network(0), network(0)
    with torch.no_grad():
        ours.dense1.bias += 0.001
    paired = difference(measured(ours), measured(theirs))[-1].values[quantity].interval
    apart = difference(measured(ours), measured(theirs, seed=1))[-1].values[quantity].interval
    assert 0 < np.ptp(paired) < 0.75 * np.ptp(apart)


def test_changes_are_from_the_layer_before() -> None:
    layers = measured(network(0))
    found = changes(layers)
    assert [(change.reference, change.layer) for change in found] == [
        ("conv1_act", "conv2_act"),
        ("conv2_act", "dense1_act"),
    ]
    for before, layer, change in zip(layers, layers[1:], found, strict=False):
        for quantity in QUANTITIES:
            value, earlier = getattr(layer, quantity), getattr(before, quantity)
            assert change.values[quantity].value == value - earlier
            share = value / layer.maxima[quantity] - earlier / before.maxima[quantity]
            assert change.shares[quantity].value == pytest.approx(share)
            assert change.shares[quantity].interval.low <= share <= change.shares[quantity].interval.high


def test_what_has_no_maximum_has_no_share() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 1), nn.Tanh())
    (change,) = changes(measured(model))
    assert "activation_entropy" in change.values
    assert set(QUANTITIES) - set(change.shares) == {"activation_entropy"}


def test_json_holds_values_and_intervals() -> None:
    (first, *_) = difference(measured(network(0)), measured(network(1)))
    entry = first.as_json()
    assert (entry["layer"], entry["reference"]) == ("conv1_act", "conv1_act")
    assert entry["values"]["active"]["value"] == first.values["active"].value
    assert entry["shares"]["active"]["interval"] == list(first.shares["active"].interval)


def test_networks_with_other_layers_or_units_are_an_error() -> None:
    ours = measured(network(0))
    with pytest.raises(LayerError, match=r"conv1_act \(1024\), .* against dense1_act \(\d+\)"):
        difference(ours, measured(network(0, "mlp")))
    with pytest.raises(LayerError, match="same order"):
        difference(ours, ours[::-1])
    with pytest.raises(LayerError, match=r"\(1025\)"):
        difference(ours, [replace(ours[0], units=1025), *ours[1:]])


def test_profiles_that_cannot_be_paired_are_an_error() -> None:
    ours = measured(network(0))
    with pytest.raises(SettingError, match=r"\(40, 30, 100\) against \(39, 30, 100\)"):
        difference(ours, measured(network(0), images=39))
    with pytest.raises(SettingError, match=r"\(40, 30, 50\)"):
        difference(ours, measured(network(0), replicates=50))
    with pytest.raises(SettingError, match="replicates"):
        difference(measured(network(0), replicates=0), measured(network(0), replicates=0))
