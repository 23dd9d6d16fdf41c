import copy
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn

from retemper.data import Data, Split
from retemper.errors import DivergenceError, ModelError, SettingError
from retemper.models import Network, create, load
from retemper.models.hashing import weights_hash
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    Differential,
    LabelSmoothing,
    LinearisedLoss,
    OneOf,
    PGDTraining,
    WarmUp,
    differential_training,
)
from retemper.threats import Linf
from retemper.training import retrain, run


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


LAST_STEP = {"epochs": 1, "batch_size": 2000, "optimiser": "sgd", "learning_rate": 1e30, "progress": False}
"""One step, whose own loss is finite, to weights whose logits are not."""


def test_logits_that_the_last_step_made_infinite_are_a_divergence(
    network: Network, digits: Data, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError, match=r"After epoch 1 Network returns NaN or infinite logits.*no checkpoint"):
        retrain(network, digits, CrossEntropy(), out=tmp_path, **LAST_STEP)
    assert not (tmp_path / "training.json").exists()


def test_what_cannot_be_settled_is_refused_before_training(digits: Data, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    before = weights_hash(network)
    for objective in (
        differential_training(),
        CrossEntropy() + OneOf((WarmUp(Differential(), over=0.5), LabelSmoothing(0.1))),
        LinearisedLoss("l1", 0.1, 0.01, loss="differential") + CrossEntropy(),
        PGDTraining(Linf(0.1), differential_training()),
    ):
        with pytest.raises(ModelError, match=r"nn\.Linear with a bias"):
            retrain(network, digits, objective, epochs=1, out=tmp_path, progress=False)
    assert weights_hash(network) == before
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_out_ends_where_it_changes_what_no_file_keeps(
    centring: nn.Module, digits: Data, tmp_path: Path
) -> None:
    settings = {"epochs": 1, "batch_size": 400, "out": tmp_path, "progress": False}
    with pytest.raises(ModelError, match=r"changed mean of Centring.*persistent=True, or train without `out`"):
        retrain(centring, digits, CrossEntropy(), **settings)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    centring.register_buffer("mean", centring.get_buffer("mean"), persistent=True)
    start = copy.deepcopy(centring)
    training = retrain(centring, digits, CrossEntropy(), **settings)
    again = copy.deepcopy(start)
    assert retrain(again, digits, CrossEntropy(), **settings).history == training.history
    assert weights_hash(again) == weights_hash(centring)


def test_buffers_that_are_not_saved_may_be_written_beside_where_training_leaves_them_alone(
    network: Network, digits: Data, tmp_path: Path
) -> None:
    network.register_buffer("positions", torch.arange(3.0), persistent=False)
    retrain(network, digits, CrossEntropy(), epochs=1, batch_size=400, out=tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").is_file()


class Caching(nn.Module):
    """It keeps what it makes anew for a batch of another size."""

    ones: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("ones", torch.ones(1, 1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if len(self.ones) != len(inputs):
            self.ones = torch.ones(len(inputs), 1)
        return self.layer(inputs.flatten(1)) * self.ones


def test_what_a_model_makes_again_need_not_be_saved(digits: Data, tmp_path: Path) -> None:
    model = Caching()
    retrain(model, digits, CrossEntropy(), epochs=1, out=tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").is_file()


def test_a_model_without_anything_to_train_is_refused(network: Network, digits: Data) -> None:
    with pytest.raises(ModelError, match="none requires a gradient"):
        retrain(network.requires_grad_(False), digits, CrossEntropy(), epochs=1, progress=False)


@pytest.fixture
def _fresh_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state()
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state()
    GradientState._reset_state()


@pytest.mark.usefixtures("_fresh_accelerate")
def test_what_a_launcher_asks_of_accelerate_changes_neither_precision_nor_steps(
    network: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 1, "precision": "fp32", "progress": False}
    usual = copy.deepcopy(network)
    retrain(usual, digits, CrossEntropy(), **settings)
    AcceleratorState._reset_state()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    retrain(network, digits, CrossEntropy(), **settings)
    assert weights_hash(network) == weights_hash(usual)
    assert "forward" not in vars(network)


@pytest.mark.usefixtures("_fresh_accelerate")
def test_an_accelerator_of_somebody_elses_that_patches_models_is_refused(network: Network, digits: Data) -> None:
    Accelerator(mixed_precision="bf16")
    with pytest.raises(SettingError, match="'bf16' was made in this process before"):
        retrain(network, digits, CrossEntropy(), epochs=1, progress=False)


@pytest.mark.usefixtures("_fresh_accelerate")
@pytest.mark.parametrize("fails", [False, True])
def test_a_callers_accumulation_neither_stops_the_training_nor_is_ended_by_it(
    network: Network, digits: Data, fails: bool
) -> None:
    usual = copy.deepcopy(network)
    retrain(usual, digits, CrossEntropy(), epochs=1, progress=False)
    theirs = Accelerator(gradient_accumulation_steps=4)
    with theirs.accumulate(nn.Linear(2, 2)):
        pass
    assert not theirs.sync_gradients
    if fails:
        with pytest.raises(DivergenceError):
            retrain(network, digits, CrossEntropy(), **LAST_STEP)
    else:
        retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
        assert weights_hash(network) == weights_hash(usual)
    assert (theirs.gradient_accumulation_steps, theirs.sync_gradients) == (4, False)
    assert theirs.mixed_precision == "no"


@pytest.mark.usefixtures("_fresh_accelerate")
def test_after_a_training_a_caller_may_choose_the_precision_of_an_accelerator(network: Network, digits: Data) -> None:
    retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
    assert Accelerator(mixed_precision="bf16").mixed_precision == "bf16"


@pytest.mark.usefixtures("_fresh_accelerate")
def test_what_a_training_says_of_the_processes_does_not_reach_the_next(
    network: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sharding that Accelerate finds noted already is one that it does not set up again."""
    kinds: list[DistributedType] = []

    def noting(*_arguments: object, **_options: object) -> None:
        kinds.append(PartialState().distributed_type)
        PartialState().distributed_type = DistributedType.FSDP
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_epoch", noting)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
    assert kinds == [DistributedType.NO] * 2


def test_begun_anew_and_killed_before_its_first_checkpoint_a_run_can_be_gone_on_with(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 1, "out": tmp_path, "progress": False}
    start = copy.deepcopy(network.state_dict())
    retrain(network, digits, CrossEntropy(), **settings)
    once = weights_hash(network)
    network.load_state_dict(start)
    with monkeypatch.context() as patch:
        patch.setattr(run, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            retrain(network, digits, CrossEntropy(), resume=False, **settings)
    retrain(network, digits, CrossEntropy(), **settings)
    assert weights_hash(network) == once
    assert not (tmp_path / "checkpoints").exists()


def interrupted(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_a_tracker_that_is_not_installed_is_refused(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    refused = pytest.raises(SettingError, match=r"installed trackers.*\['tensorboard'\]")
    with pytest.warns(UserWarning, match="no supported trackers"), refused:
        retrain(network, digits, CrossEntropy(), epochs=1, out=tmp_path, trackers=["tensorboard"], progress=False)


def test_a_model_that_views_is_trained_on_images_of_any_size(viewing: nn.Module, digits: Data) -> None:
    def larger(split: Split) -> Split:
        return Split(split.inputs.repeat_interleave(2, 2).repeat_interleave(2, 3), split.labels)

    splits = {name: larger(digits.split(name)) for name in ("train", "validation", "test")}
    training = retrain(viewing, replace(digits, **splits), CrossEntropy(), epochs=5, progress=False)
    assert training.history[-1]["validation_accuracy"] > 0.5


def test_no_generator_of_another_device_is_touched(
    network: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _seed: pytest.fail("seeded every GPU"))
    retrain(network, digits, CrossEntropy(), epochs=1, progress=False)


def test_bytes_are_no_reason_against_the_channels_last_layout(digits: Data) -> None:
    def in_bytes(split: Split) -> Split:
        return Split((split.inputs * 255).byte().repeat_interleave(2, 2).repeat_interleave(2, 3), split.labels)

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 10))
    seen = []
    model[0].register_forward_pre_hook(lambda layer, _inputs: seen.append(layer.weight.stride()))
    retrain(
        model, replace(digits, **{name: in_bytes(digits.split(name)) for name in ("train", "validation", "test")}),
        CrossEntropy(), epochs=1, batch_size=400, progress=False,
    )  # fmt: skip
    assert seen[-1] == (9, 1, 3, 1)
