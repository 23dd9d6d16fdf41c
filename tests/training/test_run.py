import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from retemper.data import Data
from retemper.errors import CheckpointError, DivergenceError, ModelError
from retemper.models import Network, create, load
from retemper.objectives import ActivationEntropy, CrossEntropy, PGDTraining, differential_training
from retemper.threats import Linf
from retemper.training import retrain
from retemper.training.checkpoints import Checkpoints, weights_hash


def _accuracy(model: nn.Module, data: Data) -> float:
    inputs, labels = data.test.batch(slice(None))
    return float((model.eval()(inputs).argmax(1) == labels).float().mean())


def test_plain_training_learns_digits(network: Network, digits: Data) -> None:
    training = retrain(network, digits, CrossEntropy(), epochs=10, batch_size=64, progress=False)
    assert _accuracy(network, digits) > 0.93
    assert training.history[-1]["loss"] < 0.5 * training.history[0]["loss"]


def test_one_step_is_the_step_of_a_bare_loop(network: Network, digits: Data) -> None:
    """One epoch of one batch with SGD: the weights move by -rate * gradient of the mean loss over all images."""
    inputs, labels = digits.train.batch(slice(None))
    torch.manual_seed(0)
    bare = create("mlp", shape=digits.shape, classes=10)
    nn.functional.cross_entropy(bare(inputs), labels).backward()
    rate = 0.1
    retrain(
        network, digits, CrossEntropy(), epochs=1, batch_size=len(labels), optimiser="sgd", learning_rate=rate,
        schedule="constant", progress=False,
    )  # fmt: skip
    for ours, theirs in zip(network.parameters(), bare.parameters(), strict=True):
        assert theirs.grad is not None
        # Nesterov momentum's first step is (1 + 0.9) times the gradient.
        torch.testing.assert_close(ours, theirs - rate * 1.9 * theirs.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "objective", [CrossEntropy() + 0.1 * ActivationEntropy(), PGDTraining(Linf(0.1), steps=2), differential_training()]
)
def test_the_same_seed_gives_the_same_weights(objective, digits: Data) -> None:
    hashes = set()
    for _ in range(2):
        torch.manual_seed(0)
        model = create("small-cnn", shape=digits.shape, classes=10)
        retrain(model, digits, objective, epochs=2, augmentation="crop", progress=False)
        hashes.add(weights_hash(model))
    assert len(hashes) == 1


def test_another_seed_gives_another_order(network: Network, digits: Data) -> None:
    start = network.state_dict()
    copies = []
    for seed in (0, 1):
        model = create("mlp", shape=digits.shape, classes=10)
        model.load_state_dict(start)
        retrain(model, digits, CrossEntropy(), epochs=1, seed=seed, progress=False)
        copies.append(weights_hash(model))
    assert copies[0] != copies[1]


def test_the_global_generator_and_the_modes_stay_as_they_were(network: Network, digits: Data) -> None:
    network.train()
    network.dense1.eval()
    before = torch.get_rng_state()
    retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    assert not network.dense1.training


class _KilledError(Exception):
    pass


def _dropout_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_killed_run_goes_on_to_the_same_result(
    optimiser: str, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, augmentation and random starts: everything random is drawn again as it would have been."""
    settings = {"epochs": 4, "augmentation": "crop", "optimiser": optimiser, "progress": False}
    objective = PGDTraining(Linf(0.1), steps=1)
    whole = _dropout_network()
    uninterrupted = retrain(whole, digits, objective, out=tmp_path / "whole", **settings)

    real_save = Checkpoints.save

    def save_then_die(self: Checkpoints, *arguments: object) -> Path:
        path = real_save(self, *arguments)
        if len(arguments[1]) == 2:
            raise _KilledError
        return path

    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(_KilledError):
        retrain(_dropout_network(), digits, objective, out=tmp_path / "killed", **settings)
    monkeypatch.undo()
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path))
    resumed_model = _dropout_network()
    resumed = retrain(resumed_model, digits, objective, out=tmp_path / "killed", **settings)
    assert weights_hash(resumed_model) == weights_hash(whole)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in uninterrupted.history]


def test_a_finished_run_is_loaded_instead_of_trained(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}
    first = retrain(network, digits, CrossEntropy(), epochs=2, out=tmp_path, progress=False)
    trained = weights_hash(network)
    network.load_state_dict(start)
    monkeypatch.setattr("retemper.training.run.train_epoch", lambda *_args, **_options: pytest.fail("trained"))
    again = retrain(network, digits, CrossEntropy(), epochs=2, out=tmp_path, progress=False)
    assert weights_hash(network) == trained
    assert again.history == first.history


def test_what_a_run_leaves_behind(network: Network, digits: Data, tmp_path: Path) -> None:
    objective = CrossEntropy() + 0.1 * ActivationEntropy()
    training = retrain(network, digits, objective, epochs=2, out=tmp_path / "run", progress=False)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "history.csv",
        "model.safetensors",
        "training.json",
    ]
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row, noted in zip(rows, training.history, strict=True):
        total = float(row["cross-entropy"]) + float(row["activation-entropy"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-5)
        assert float(row["validation_accuracy"]) == noted["validation_accuracy"]
    again = load(tmp_path / "run" / "model.safetensors")
    inputs, _ = digits.test.batch(slice(0, 5))
    assert torch.equal(again(inputs), network.eval()(inputs))
    assert json.loads((tmp_path / "run" / "training.json").read_text())["identity"]["objective"] == repr(objective)


def test_tensorboard_gets_every_term(network: Network, digits: Data, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    objective = CrossEntropy() + 0.1 * ActivationEntropy()
    training = retrain(network, digits, objective, epochs=2, out=tmp_path, trackers=["tensorboard"], progress=False)
    events = EventAccumulator(str(next(path.parent for path in tmp_path.rglob("events.out*"))))
    events.Reload()
    logged = [event.value for event in events.Scalars("activation-entropy")]
    assert logged == pytest.approx([row["activation-entropy"] for row in training.history])


def test_another_objective_does_not_go_on_from_this_checkpoint(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_save = Checkpoints.save

    def save_then_die(self: Checkpoints, *arguments: object) -> Path:
        real_save(self, *arguments)
        raise _KilledError

    start = {name: value.clone() for name, value in network.state_dict().items()}
    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(_KilledError):
        retrain(network, digits, CrossEntropy(), epochs=3, out=tmp_path, progress=False)
    monkeypatch.setattr(Checkpoints, "save", real_save)
    network.load_state_dict(start)
    with pytest.raises(CheckpointError, match="belongs to another run: its objective is 'CrossEntropy"):
        retrain(network, digits, differential_training(), epochs=3, out=tmp_path, progress=False)
    network.load_state_dict(start)
    retrain(network, digits, differential_training(), epochs=1, out=tmp_path, resume=False, progress=False)
    assert "Differential" in json.loads((tmp_path / "training.json").read_text())["identity"]["objective"]


def test_a_truncated_checkpoint_is_named_and_left_alone(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_save = Checkpoints.save

    def save_then_die(self: Checkpoints, *arguments: object) -> Path:
        real_save(self, *arguments)
        raise _KilledError

    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(_KilledError):
        retrain(network, digits, CrossEntropy(), epochs=3, out=tmp_path, progress=False)
    monkeypatch.setattr(Checkpoints, "save", real_save)
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

    real_save = Accelerator.save_state

    def full_after_two(self: Accelerator, folder: str) -> str:
        if (tmp_path / "checkpoints" / "epoch-00002").is_dir():
            raise OSError(28, "No space left on device")
        return real_save(self, folder)

    monkeypatch.setattr(Accelerator, "save_state", full_after_two)
    with pytest.raises(OSError, match=r"No space left.*epoch-00002, is still there"):
        retrain(network, digits, CrossEntropy(), epochs=4, out=tmp_path, progress=False)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch-00002"]


class _Explodes(ActivationEntropy):
    """An entropy that becomes NaN after some steps."""

    steps = 0

    def value(self, forward):  # type: ignore[no-untyped-def]
        type(self).steps += 1
        return super().value(forward) * (float("nan") if self.steps > 12 else 1.0)


def test_a_loss_that_turns_nan_names_step_and_term_and_keeps_the_weights(
    network: Network, digits: Data, tmp_path: Path
) -> None:
    _Explodes.steps = 0
    # 1,078 images less the validation in batches of 128: 8 steps an epoch.
    per_epoch = -(-len(digits.train) // 128)
    with pytest.raises(DivergenceError, match=rf"step {13 - per_epoch} of epoch 2: activation-entropy is nan") as error:
        retrain(network, digits, CrossEntropy() + 0.1 * _Explodes(), epochs=3, out=tmp_path, progress=False)
    assert "epoch-00001" in str(error.value)
    assert (tmp_path / "checkpoints" / "epoch-00001").is_dir()
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_weights_of_nan_are_found_before_training(network: Network, digits: Data) -> None:
    with torch.no_grad():
        network.dense2.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"dense2\.weight"):
        retrain(network, digits, CrossEntropy(), epochs=1, progress=False)


def test_frozen_parameters_stay(network: Network, digits: Data) -> None:
    network.dense1.requires_grad_(False)
    before = network.dense1.weight.clone()
    retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
    assert torch.equal(network.dense1.weight, before)


def test_bf16_and_channels_last_leave_weights_in_fp32_and_in_their_layout(real_data: Path, monkeypatch) -> None:
    import retemper.data

    monkeypatch.setenv("RETEMPER_DATA", str(real_data))
    data = retemper.data.load("mnist")
    small = Data(**{**vars(data), "train": data.train.take(512), "validation": data.validation.take(100)})
    model = create("lenet5", shape=data.shape, classes=10)
    training = retrain(model, small, CrossEntropy(), epochs=1, precision="bf16", progress=False)
    assert training.identity["settings"]["precision"] == "bf16"
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert model.conv2.weight.is_contiguous()
