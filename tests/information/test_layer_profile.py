import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retemper.errors import SettingError
from retemper.information import QUANTITIES, LayerProfile
from retemper.information.measures import renyi_entropy

PLAIN = LayerProfile("act", 10, 9, 4, 0.5, 1.0, 0.5, 0.3, 2.0)


def spread(low: float, high: float) -> dict[str, np.ndarray]:
    return dict.fromkeys(QUANTITIES, np.linspace(low, high, 41))


def test_maxima_are_those_of_the_width_and_the_number_of_images() -> None:
    maxima = PLAIN.maxima
    assert set(maxima) == set(QUANTITIES)
    assert maxima["active"] == 1
    assert maxima["activation_entropy"] == math.log(10)
    assert maxima["unit_entropy"] == math.log(2)
    assert maxima["effective_rank"] == 3


@pytest.mark.parametrize("images", [2, 3, 4, 30])
def test_the_renyi_entropy_is_largest_for_images_equally_far_apart(images: int) -> None:
    largest = LayerProfile("act", 99, images, images, 0, 0, 0, 0, 0).maxima["renyi_entropy"]
    assert float(renyi_entropy(torch.eye(images, dtype=torch.float64))) == pytest.approx(largest)
    assert largest < 1


@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 2**31 - 1), st.floats(0, 4))
def test_no_images_have_a_larger_renyi_entropy(images: int, units: int, seed: int, tail: float) -> None:
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(images, units)))
    values = values.sign() * values.abs() ** tail
    largest = LayerProfile("act", units, images, images, 0, 0, 0, 0, 0).maxima["renyi_entropy"]
    assert -1e-12 <= float(renyi_entropy(values)) <= largest + 1e-12


def test_one_image_alone_has_no_entropy_over_images() -> None:
    maxima = LayerProfile("act", 1, 1, 1, 0, 0, 0, 0, 0).maxima
    assert (maxima["renyi_entropy"], maxima["effective_rank"], maxima["activation_entropy"]) == (0, 0, 0)


def test_intervals_stay_within_what_is_possible() -> None:
    layer = LayerProfile("act", 10, 9, 4, 0.5, 1.0, 0.5, 0.3, 2.0, spread(-5, 5))
    assert layer.interval("active") == (0, 1)
    assert layer.interval("effective_rank") == (0, 3)
    narrow = LayerProfile("act", 10, 9, 4, 0.5, 1.0, 0.5, 0.3, 2.0, spread(0.4, 0.6))
    assert narrow.interval("active") == pytest.approx((0.405, 0.595))


def test_without_replicates_there_are_no_intervals() -> None:
    with pytest.raises(SettingError, match=r"unit_entropy, but layer 'act' has none.*replicates=200"):
        PLAIN.interval("unit_entropy")
    assert "intervals" not in PLAIN.as_json()


def test_json_holds_figures_and_intervals_and_is_read_back() -> None:
    layer = LayerProfile("act", 10, 9, 4, 0.5, 1.0, 0.5, 0.3, 2.0, spread(0.4, 0.6))
    written = json.loads(json.dumps(layer.as_json(), allow_nan=False))
    assert written["effective_rank"] == 2.0
    assert written["intervals"]["unit_entropy"] == pytest.approx([0.405, 0.595])
    assert LayerProfile.from_json(written) == layer
    assert LayerProfile.from_json(PLAIN.as_json()) == PLAIN


def test_files_older_than_the_renyi_entropy_are_read_and_written() -> None:
    old = {"layer": "act", "units": 3, "images": 9, "active": 0.5, "activation_entropy": 1.0}
    old |= {"unit_entropy": 0.6, "effective_rank": 2.0}
    layer = LayerProfile.from_json(old)
    assert math.isnan(layer.renyi_entropy)
    assert layer.maxima["effective_rank"] == 3
    assert json.loads(json.dumps(layer.as_json(), allow_nan=False)) == old | {"gram_images": 9}
