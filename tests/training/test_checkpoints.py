import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from retemper.data import Data
from retemper.errors import CheckpointError
from retemper.models import Network, create, load
from retemper.models.hashing import weights_hash
from retemper.objectives import CrossEntropy, PGDTraining, differential_training
from retemper.threats import Linf
from retemper.training import retrain
from retemper.training.checkpoints import Checkpoints

Kill = Callable[[int], AbstractContextManager[None]]


def _dropout_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_killed_run_goes_on_to_the_same_result(
    optimiser: str, digits: Data, tmp_path: Path, killed_after: Kill
) -> None:
    """With dropout, augmentation and random starts: everything random is drawn again as it would have been."""
    settings = {"epochs": 4, "augmentation": "crop", "optimiser": optimiser, "progress": False}
    objective = PGDTraining(Linf(0.1), steps=1)
    whole = _dropout_network()
    uninterrupted = retrain(whole, digits, objective, out=tmp_path / "whole", **settings)
    with killed_after(2):
        retrain(_dropout_network(), digits, objective, out=tmp_path / "killed", **settings)
    model = _dropout_network()
    resumed = retrain(model, digits, objective, out=tmp_path / "killed", **settings)
    assert weights_hash(model) == weights_hash(whole)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in uninterrupted.history]


def test_another_objective_does_not_go_on_from_this_checkpoint(
    network: Network, digits: Data, tmp_path: Path, killed_after: Kill
) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}
    with killed_after(1):
        retrain(network, digits, CrossEntropy(), epochs=3, out=tmp_path, progress=False)
    network.load_state_dict(start)
    with pytest.raises(CheckpointError, match="belongs to another run: its objective is 'CrossEntropy"):
        retrain(network, digits, differential_training(), epochs=3, out=tmp_path, progress=False)
    network.load_state_dict(start)
    retrain(network, digits, differential_training(), epochs=1, out=tmp_path, resume=False, progress=False)
    assert "Differential" in json.loads((tmp_path / "training.json").read_text())["identity"]["objective"]


def test_a_model_that_a_killed_run_has_half_trained_is_told_from_another_run(
    network: Network, digits: Data, tmp_path: Path, killed_after: Kill
) -> None:
    start, settings = copy.deepcopy(network), {"epochs": 2, "out": tmp_path, "progress": False}
    with killed_after(1):
        retrain(network, digits, CrossEntropy(), **settings)
    said = r"began with other weights than the model has now.*as it was then.*another folder, or pass resume=False"
    with pytest.raises(CheckpointError, match=rf"epoch-00001 belongs to a run that {said}.*start over"):
        retrain(network, digits, CrossEntropy(), **settings)
    retrain(start, digits, CrossEntropy(), **settings)
    with pytest.raises(CheckpointError, match=rf"holds a finished run that {said}.*replace it"):
        retrain(start, digits, CrossEntropy(), **settings)
    with pytest.raises(CheckpointError, match=r"differs in objective.*, start\. "):
        retrain(start, digits, differential_training(), **settings)


def test_a_truncated_checkpoint_is_named_and_left_alone(
    network: Network, digits: Data, tmp_path: Path, killed_after: Kill
) -> None:
    with killed_after(1):
        retrain(network, digits, CrossEntropy(), epochs=3, out=tmp_path, progress=False)
    weights = tmp_path / "checkpoints" / "epoch-00001" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    torch.manual_seed(0)
    fresh = create("mlp", shape=digits.shape, classes=10)
    with pytest.raises(CheckpointError, match=r"epoch-00001 is damaged.*resume=False"):
        retrain(fresh, digits, CrossEntropy(), epochs=3, out=tmp_path, progress=False)
    assert weights.stat().st_size == 1000


def test_a_full_disk_keeps_the_checkpoint_before(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import Accelerator

    save_state = Accelerator.save_state

    def full_after_two(self: Accelerator, folder: str) -> str:
        if (tmp_path / "checkpoints" / "epoch-00002").is_dir():
            raise OSError(28, "No space left on device")
        return save_state(self, folder)

    monkeypatch.setattr(Accelerator, "save_state", full_after_two)
    with pytest.raises(OSError, match=r"No space left.*epoch-00002, is still there"):
        retrain(network, digits, CrossEntropy(), epochs=4, out=tmp_path, progress=False)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch-00002"]


def test_what_is_not_ours_is_neither_read_nor_deleted(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"seed": 0})
    for name in ("lightning/best.ckpt", "epoch-best/run.json", "epoch-00007/state.pt", "epoch-00003/run.json"):
        (tmp_path / "checkpoints" / name).parent.mkdir(parents=True)
        (tmp_path / "checkpoints" / name).write_text("mine")
    (tmp_path / "checkpoints" / "best.safetensors").write_text("ours")
    checkpoints.clear()
    kept = sorted(path.parent.name for path in (tmp_path / "checkpoints").rglob("*") if path.is_file())
    assert kept == ["epoch-00007", "epoch-best", "lightning"]
    assert checkpoints.latest() == tmp_path / "checkpoints" / "epoch-00007"


@pytest.mark.parametrize("give_up", [None, 0.5])
def test_weights_that_no_run_of_ours_wrote_are_not_written_over(
    network: Network, digits: Data, tmp_path: Path, give_up: float | None
) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    settings = {"give_up": give_up, "epochs": 1, "progress": False, "out": tmp_path}
    with pytest.raises(CheckpointError, match=r"no training.json that says.*--no-resume"):
        retrain(network, digits, **settings)
    assert (tmp_path / "model.safetensors").read_text() == "mine"
    retrain(network, digits, resume=False, **settings)
    assert load(tmp_path / "model.safetensors").spec == network.spec


def test_a_disk_that_is_full_is_an_oserror_in_whatever_format(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("accelerate.Accelerator.save_state", full)
    with pytest.raises(OSError, match=r"No space left on device.*there was none before"):
        retrain(network, digits, CrossEntropy(), epochs=1, out=tmp_path, progress=False)
    assert not (tmp_path / "checkpoints" / "unfinished").exists()
