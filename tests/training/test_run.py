import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from retemper.data import Data
from retemper.errors import DivergenceError, ModelError
from retemper.models import Network, create, load
from retemper.models.hashing import weights_hash
from retemper.objectives import ActivationEntropy, CrossEntropy
from retemper.training import retrain


def _accuracy(model: nn.Module, data: Data) -> float:
    inputs, labels = data.test.batch(slice(None))
    return float((model.eval()(inputs).argmax(1) == labels).float().mean())


def test_plain_training_learns_digits(network: Network, digits: Data) -> None:
    training = retrain(network, digits, CrossEntropy(), epochs=10, batch_size=64, progress=False)
    assert _accuracy(network, digits) > 0.93
    assert training.history[-1]["loss"] < 0.5 * training.history[0]["loss"]


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
