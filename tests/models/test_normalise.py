import math

import pytest
import torch

from retemper.errors import SettingError
from retemper.models import Normalise


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_channel_is_shifted_and_scaled_by_its_own(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    inputs = torch.rand(shape, dtype=dtype)
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    outputs = Normalise(mean, std).to(dtype)(inputs)
    assert outputs.dtype == dtype
    for channel in range(3):
        torch.testing.assert_close(outputs[:, channel], (inputs[:, channel] - mean[channel]) / std[channel])


def test_one_of_each_serves_all_channels() -> None:
    inputs = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(Normalise([0.5], [0.25])(inputs), (inputs - 0.5) / 0.25)


def test_the_numbers_are_saved_and_not_trained() -> None:
    layer = Normalise([0.5], [0.25])
    assert set(layer.state_dict()) == {"mean", "std"}
    assert list(layer.parameters()) == []


@pytest.mark.parametrize(
    ("mean", "std"), [([], []), ([0.5], [1.0, 1.0]), ([0.5], [0.0]), ([0.5], [-1.0]), ([0.5], [math.nan])]
)
def test_impossible_numbers_are_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(SettingError, match="standard deviations"):
        Normalise(mean, std)


def test_inputs_of_another_number_of_channels_are_refused() -> None:
    """They would be repeated, one channel taken for three."""
    three = Normalise([0.5, 0.4, 0.3], [1.0, 1.0, 1.0])
    for inputs in (torch.rand(2, 1, 4, 4), torch.rand(2, 1)):
        with pytest.raises(SettingError, match=r"3 channels.*got 1"):
            three(inputs)
    assert Normalise([0.5], [1.0])(torch.rand(2, 3, 4, 4)).shape == (2, 3, 4, 4)
