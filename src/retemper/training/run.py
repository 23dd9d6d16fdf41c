"""Retraining a model: from whatever weights it has, on whatever device there is, resumable."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from retemper.data import Data
from retemper.errors import CheckpointError, SettingError
from retemper.files import read_json, write_json, write_text
from retemper.models import predict, save
from retemper.models.hashing import weights_hash
from retemper.models.layout import channels_last, channels_last_pays
from retemper.objectives import Objective, as_spec
from retemper.progress import progress_line
from retemper.training import optimisers
from retemper.training.checkpoints import Checkpoints, History
from retemper.training.epoch import steps_per_epoch, train_epoch
from retemper.training.fit import check_fit
from retemper.training.precision import resolve
from retemper.training.settings import Settings

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Training:
    """What a run did.

    Attributes:
        history: for each epoch the mean loss and its terms, the last learning rate, the seconds that its
            steps took, and the validation accuracy in [0, 1].
        identity: what the run was: objective, settings, data and first weights.
    """

    history: History
    identity: dict[str, Any]

    @property
    def seconds(self) -> float:
        """What all steps took, without validation and checkpoints."""
        return sum(row["seconds"] for row in self.history)


def retrain(
    model: nn.Module,
    data: Data,
    objective: Objective,
    *,
    out: Path | str | None = None,
    resume: bool = True,
    trackers: Sequence[str] = (),
    progress: bool = True,
    label: str = "training",
    **settings: Any,
) -> Training:
    """Train a model in place, from whatever weights it has.

    Runs on the device and in the processes that Accelerate finds (`accelerate launch`). With `out`, the run
    is written there: `model.safetensors`, `history.csv`, `training.json`, and until it ends a checkpoint an
    epoch, from which the same call goes on after a kill, to the same result. A run that has ended is loaded.

    Args:
        model: any classifier; its modules' modes are as they were afterwards.
        data: with labels that fit the model's outputs.
        objective: such as `CrossEntropy() + 0.1 * ActivationEntropy()`.
        out: the folder of the run; None writes nothing.
        resume: go on from what is in `out`; False starts over.
        trackers: of Accelerate, such as "tensorboard", beside the CSV.
        progress: show one line that says where it is.
        label: what that line is called.
        **settings: the fields of `Settings`: epochs, batch_size, optimiser, learning_rate, weight_decay,
            schedule, augmentation, precision, seed.

    Raises:
        SettingError: an unknown or impossible setting, or a tracker that is not installed.
        ModelError: the model does not run on the data, or has another number of classes.
        CheckpointError: `out` holds a damaged checkpoint or another run.
        DivergenceError: a term of the loss became NaN or infinite; the last good checkpoint is kept.
        OSError: `out` cannot be written.
    """
    chosen = read_settings(settings)
    folder = Path(out) if out is not None else None
    accelerator = _accelerator(trackers, folder)
    model.to(accelerator.device)
    check_fit(model, data)
    precision = resolve(chosen.precision, accelerator.device, data.shape)
    identity = {
        "objective": repr(objective),
        "settings": chosen.as_dict() | {"precision": precision},
        "data": data.fingerprint(),
        "start": weights_hash(model),
    }
    if folder is not None and resume and (finished := _finished(folder, identity, model)) is not None:
        return finished
    checkpoints = Checkpoints(folder / "checkpoints", identity) if folder is not None else None
    if checkpoints is not None and not resume:
        checkpoints.clear()

    with _as_it_was(model), channels_last(model, wanted=channels_last_pays(data.shape)):
        optimiser = optimisers.build(model, chosen.optimiser, chosen.rate, chosen.weight_decay)
        prepared, optimiser = accelerator.prepare(model, optimiser)
        history = checkpoints.restore(accelerator) if checkpoints is not None else []
        steps = steps_per_epoch(len(data.train), chosen.batch_size)
        if trackers:
            accelerator.init_trackers("retemper", config={key: str(value) for key, value in identity.items()})
        shown = progress and accelerator.is_main_process
        with progress_line(label, chosen.epochs * steps, len(history) * steps, shown=shown) as after_step:
            for epoch in range(len(history), chosen.epochs):
                latest = checkpoints.latest() if checkpoints is not None else None
                row = train_epoch(
                    accelerator,
                    prepared,
                    optimiser,
                    objective,
                    data.train,
                    chosen,
                    epoch=epoch,
                    precision=precision,
                    kept=f"The last good checkpoint is {latest}." if latest else "There is no checkpoint yet.",
                    after_step=after_step,
                )
                if epoch == chosen.epochs - 1:
                    objective.settle(model, data.train)
                history.append(row | {"validation_accuracy": _accuracy(model, data)})
                if trackers:
                    accelerator.log(history[-1], step=(epoch + 1) * steps)
                if folder is not None and checkpoints is not None:
                    checkpoints.save(accelerator, history)
                    if accelerator.is_main_process:
                        _write_history(folder, history)
        if trackers:
            accelerator.end_training()
    training = Training(history, identity)
    if folder is not None and checkpoints is not None and accelerator.is_main_process:
        _write_end(folder, model, training, objective)
        checkpoints.clear()
    return training


def read_settings(settings: dict[str, Any]) -> Settings:
    """Settings from keywords.

    Raises:
        SettingError: a keyword that is none, or an impossible value.
    """
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise SettingError(f"There is no setting {name!r}; the settings are {', '.join(known)}.")
    return Settings(**settings)


def _accelerator(trackers: Sequence[str], folder: Path | None) -> Accelerator:
    if trackers and folder is None:
        raise SettingError(f"The trackers {list(trackers)} need a folder to write to: pass `out`.")
    try:
        return Accelerator(log_with=list(trackers) or None, project_dir=folder)
    except (ValueError, ImportError) as error:
        raise SettingError(
            f"Expected `trackers` to be installed trackers of Accelerate, but got {list(trackers)}: {error}. "
            "TensorBoard comes with retemper[tensorboard]."
        ) from error


def _accuracy(model: nn.Module, data: Data) -> float:
    outputs, labels = predict(model, data.validation.batches(EVALUATION_BATCH))
    return float((outputs.argmax(1) == labels).double().mean())


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Give every module its mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _finished(folder: Path, identity: dict[str, Any], model: nn.Module) -> Training | None:
    """The run that ended here with the same identity, its weights loaded; None where there is none.

    Raises:
        CheckpointError: another run ended here, or its files are damaged.
    """
    if not (folder / "training.json").is_file():
        return None
    written = read_json(folder / "training.json")
    if written.get("identity") != identity:
        changed = [key for key in identity if written.get("identity", {}).get(key) != identity[key]]
        raise CheckpointError(
            f"{folder} holds another finished run: it differs in {', '.join(changed)}. Choose another folder, or "
            "pass resume=False to replace it."
        )
    import safetensors.torch

    try:
        model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    except Exception as error:  # truncated files fail in as many ways as there are readers
        raise CheckpointError(
            f"{folder / 'model.safetensors'} is damaged or missing ({error}). Pass resume=False to train again."
        ) from error
    return Training(written["history"], identity)


def _write_history(folder: Path, history: History) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, ["epoch", *history[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history, 1))
    write_text(folder / "history.csv", table.getvalue())


def _write_end(folder: Path, model: nn.Module, training: Training, objective: Objective) -> None:
    # So that an attack on these weights can follow what they were trained on.
    spec = as_spec(objective)
    save(model, folder / "model.safetensors", facts=None if spec is None else {"objective": spec})
    # Last, since it says that the run has ended.
    write_json(folder / "training.json", {"identity": training.identity, "history": training.history})
