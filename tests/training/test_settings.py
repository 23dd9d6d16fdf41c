import json
from pathlib import Path

import numpy as np
import pytest

from retemper.data import Data
from retemper.errors import SettingError
from retemper.models import Network
from retemper.objectives import CrossEntropy
from retemper.training import Settings, retrain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` to be 1 or more, but got 0"),
        ({"batch_size": -1}, "`batch_size` to be 1 or more"),
        ({"seed": 2**64}, "`seed` to be an integer from 0"),
        ({"optimiser": "adamm"}, "`optimiser` to be one of adam, adamw, sgd, but got 'adamm'"),
        ({"schedule": "warm"}, "`schedule` to be one of"),
        ({"precision": "fp16"}, "`precision` to be one of"),
        ({"augmentation": "mixup"}, "`augmentation` to be one of"),
        ({"learning_rate": -1.0}, "`learning_rate` to be above 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` to be above 0"),
        ({"learning_rate": "1e-3"}, "`learning_rate` to be a number, but got '1e-3'"),
        ({"weight_decay": None}, "`weight_decay` to be a number"),
        ({"weight_decay": float("nan")}, "`weight_decay` to be 0 or more"),
    ],
)
def test_what_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings(**settings)


def test_a_misspelt_keyword_is_answered_with_the_known_ones(network: Network, digits: Data) -> None:
    with pytest.raises(SettingError, match="no setting 'epoch'; the settings are epochs, batch_size"):
        retrain(network, digits, CrossEntropy(), progress=False, epoch=3)


def test_trackers_need_a_folder_and_a_name_that_is_known(network: Network, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="need a folder to write to"):
        retrain(network, digits, CrossEntropy(), progress=False, trackers=["tensorboard"])
    with pytest.raises(SettingError, match="installed trackers"):
        retrain(network, digits, CrossEntropy(), progress=False, trackers=["nonesuch"], out=tmp_path)


def test_the_learning_rate_is_the_optimisers_unless_given() -> None:
    assert Settings(optimiser="sgd").rate == 0.05
    assert Settings(optimiser="adam").rate == 1e-3
    assert Settings(optimiser="adam", learning_rate=0.2).rate == 0.2


def test_numbers_of_numpys_are_written_as_any_others(network: Network, digits: Data, tmp_path: Path) -> None:
    numbers = {
        "epochs": np.int64(1),
        "learning_rate": np.float32(0.25),
        "seed": np.int64(3),
        "batch_size": np.int32(64),
    }
    ours = {name: number.item() for name, number in numbers.items()}
    assert Settings(**numbers) == Settings(**ours)
    give_up = np.float32(0.5)
    retrain(network, digits, progress=False, give_up=give_up, out=tmp_path, **numbers)
    identity = json.loads((tmp_path / "training.json").read_text())["identity"]
    assert identity["give_up"] == 0.5
    assert identity["settings"] | ours == identity["settings"]
