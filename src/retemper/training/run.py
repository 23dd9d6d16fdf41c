"""One training of a model: from whatever weights it has, on whatever device there is, resumable."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

from retemper.data import Data
from retemper.errors import DivergenceError, NotFiniteError, SettingError
from retemper.models import accuracy
from retemper.models.hashing import architecture_hash, weights_hash
from retemper.models.layout import channels_last, runs_channels_last
from retemper.models.state import UnsavedBuffers
from retemper.models.storage import check_savable, check_saved_whole
from retemper.objectives import Objective
from retemper.process_group import join, share_buffers
from retemper.progress import progress_line
from retemper.training import optimisers
from retemper.training.checkpoints import BEST, Checkpoints
from retemper.training.epoch import steps_per_epoch, train_epoch
from retemper.training.fit import check_fit
from retemper.training.precision import resolve
from retemper.training.results import (
    CHECKPOINTS,
    Training,
    begin_anew,
    finished,
    refuse_foreign,
    write_end,
    write_history,
)
from retemper.training.settings import Settings
from retemper.training.stopping import BestWeights, Stopping, best_epoch

EVALUATION_BATCH = 512


@contextmanager
def _accelerate_as_it_was() -> Iterator[None]:
    """Begin with no accumulation of gradients, and leave what Accelerate keeps for the whole process as it was.

    A caller's accumulation that has not ended would keep our optimiser from every step, and a state that we left behind
    would keep the caller's next `Accelerator` from another precision.
    """
    processes = join()
    kind = processes.distributed_type
    theirs, had_one = dict(GradientState._shared_state), bool(AcceleratorState._shared_state)
    GradientState._reset_state()
    try:
        yield
    finally:
        GradientState._reset_state()
        GradientState._shared_state.update(theirs)
        if not had_one:
            AcceleratorState._reset_state()
            processes.distributed_type = kind  # where it shards (FSDP), it has noted that here, too


# A caller's own no_grad or inference_mode says nothing of a training: this ends either.
@torch.inference_mode(False)
@_accelerate_as_it_was()
def train(
    model: nn.Module,
    data: Data,
    objective: Objective,
    chosen: Settings,
    *,
    out: Path | str | None,
    resume: bool,
    stopping: Stopping | None,
    trackers: Sequence[str],
    progress: bool,
    label: str,
) -> Training:
    """One training on one objective: what `retrain` says of it, and raises."""
    folder = Path(out) if out is not None else None
    if folder is not None:
        check_savable(model)  # what cannot be written is not worth training
        folder.mkdir(parents=True, exist_ok=True)
    accelerator = _accelerator(trackers, folder)
    model.to(accelerator.device)
    check_fit(model, data)
    objective.check(model, data.train)
    precision = resolve(chosen.precision, accelerator.device, data.shape)
    identity: dict[str, Any] = {
        "objective": repr(objective),
        "settings": chosen.as_dict() | {"precision": precision},
        "data": data.fingerprint(),
        "start": weights_hash(model),
        "architecture": architecture_hash(model),
    }
    if stopping is not None:
        identity["stopping"] = stopping.identity
    if folder is not None and resume and (ended := finished(folder, identity, model)) is not None:
        return ended
    checkpoints = Checkpoints(folder / CHECKPOINTS, identity) if folder is not None else None
    if folder is not None and checkpoints is not None and resume and not checkpoints.begun():
        refuse_foreign(folder)
    best = BestWeights(folder / CHECKPOINTS / BEST if folder is not None else None)
    if folder is not None and not resume and accelerator.is_main_process:
        begin_anew(folder)

    two, _ = data.validation.take(2).to(accelerator.device).batch(slice(None))
    wide = runs_channels_last(model, two.clone())
    with _as_it_was(model), channels_last(model, wanted=wide):
        optimiser = optimisers.build(model, chosen.optimiser, chosen.rate, chosen.weight_decay)
        prepared, optimiser = accelerator.prepare(model, optimiser)
        history = checkpoints.restore(accelerator) if checkpoints is not None else []
        unsaved = UnsavedBuffers(model)  # the same in each process, from `prepare` on
        steps = steps_per_epoch(len(data.train), chosen.batch_size)
        if trackers:
            accelerator.init_trackers("retemper", config={key: str(value) for key, value in identity.items()})
        shown = progress and accelerator.is_main_process
        with progress_line(label, chosen.epochs * steps, len(history) * steps, shown=shown) as after_step:
            for epoch in range(len(history), chosen.epochs):
                if stopping is not None and stopping.is_over(history):
                    break
                latest = checkpoints.latest() if checkpoints is not None else None
                kept = f"The last good checkpoint is {latest}." if latest else "There is no checkpoint yet."
                row = train_epoch(
                    accelerator,
                    prepared,
                    optimiser,
                    objective,
                    data.train,
                    chosen,
                    epoch=epoch,
                    precision=precision,
                    wide=wide,
                    kept=kept,
                    after_step=after_step,
                )
                share_buffers(model)
                with _diverged(epoch + 1, kept):
                    if epoch == chosen.epochs - 1 or stopping is not None:
                        objective.settle(model, data.train)
                    row["validation_accuracy"] = accuracy(model, data.validation.batches(EVALUATION_BATCH))
                    if stopping is not None:
                        row["score"] = stopping.scored(model)
                if folder is not None:
                    check_saved_whole(model, unsaved, two)
                history.append(row)
                if stopping is not None and best_epoch(history) == epoch:
                    best.keep(model, write=accelerator.is_main_process)
                if trackers:
                    accelerator.log(history[-1], step=(epoch + 1) * steps)
                if folder is not None and checkpoints is not None:
                    checkpoints.save(accelerator, history)
                    if accelerator.is_main_process:
                        write_history(folder, history)
        for tracker in accelerator.trackers:  # `end_training` would leave the process group, too
            tracker.finish()
        if stopping is not None:
            best.put_back(model)
    training = Training(history, identity)
    if folder is not None and checkpoints is not None and accelerator.is_main_process:
        write_end(folder, model, training, objective)
        checkpoints.clear()
    accelerator.wait_for_everyone()  # whoever reads it next finds it whole
    return training


@contextmanager
def _diverged(epoch: int, kept: str) -> Iterator[None]:
    """The losses of an epoch say nothing of its last step: what that left behind shows here."""
    try:
        yield
    except NotFiniteError as error:
        raise DivergenceError(
            f"After epoch {epoch} {error} {kept} A lower learning rate or a smaller weight of a term may help."
        ) from error


def _accelerator(trackers: Sequence[str], folder: Path | None) -> Accelerator:
    if trackers and folder is None:
        raise SettingError(f"The trackers {list(trackers)} need a folder to write to: pass `out`.")
    if AcceleratorState._shared_state and (theirs := AcceleratorState().mixed_precision) != "no":
        raise SettingError(
            f"Expected no mixed precision of Accelerate's, which would patch the model, but an Accelerator with "
            f"{theirs!r} was made in this process before. Make that one with mixed_precision='no', and choose here by "
            "`precision`."
        )
    try:
        # A launcher may ask for either: precision is a setting of ours, and a batch is one step.
        accelerator = Accelerator(log_with=list(trackers) or None, project_dir=folder, mixed_precision="no")
        accelerator.gradient_accumulation_steps = 1
        if len(accelerator.log_with) < len(trackers):  # of those that are not installed it says nothing
            raise ValueError("one of them is not installed")
        return accelerator
    except (ValueError, ImportError) as error:
        raise SettingError(
            f"Expected `trackers` to be installed trackers of Accelerate, but got {list(trackers)}: {error}. "
            "TensorBoard comes with retemper[tensorboard]."
        ) from error


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Give every module its mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
