"""What a run leaves in its folder, and how it is read back."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from retemper.errors import CheckpointError
from retemper.files import read_json, write_json, write_text
from retemper.identity import OTHER_START, REPLACE, START, differences
from retemper.models import save
from retemper.objectives import Objective, as_spec
from retemper.training.checkpoints import Checkpoints, History
from retemper.training.stopping import best_epoch

# What says that a run has ended in a folder, which search for a weight it holds, and what that found.
ENDED, SEARCH, TUNED = "training.json", "search.json", "tuned.json"
CHECKPOINTS = "checkpoints"  # the folder of those of a run that has not ended


@dataclass(frozen=True)
class Training:
    """What a run did.

    Attributes:
        history: for each epoch the mean loss and its terms, the last learning rate, the seconds that its
            steps took, the validation accuracy in [0, 1], and with early stopping the score.
        identity: what the run was: objective, settings, data and first weights.
    """

    history: History
    identity: dict[str, Any]

    @property
    def seconds(self) -> float:
        """What all steps took, without validation and checkpoints."""
        return sum(row["seconds"] for row in self.history)

    @property
    def chosen(self) -> dict[str, float]:
        """The epoch whose weights the model has: the best one under early stopping, else the last."""
        return self.history[best_epoch(self.history) if "score" in self.history[0] else -1]


def finished(folder: Path, identity: dict[str, Any], model: nn.Module) -> Training | None:
    """The run that ended here with the same identity, its weights loaded; None where there is none.

    Raises:
        CheckpointError: another run ended here, or its files are damaged.
    """
    if not (folder / ENDED).is_file():
        return None
    written = read_json(folder / ENDED)
    changed = differences(written.get("identity", {}), identity)
    if changed == [START]:
        raise CheckpointError(f"{folder} holds a finished run that {OTHER_START} {REPLACE} to replace it.")
    if changed:
        raise CheckpointError(
            f"{folder} holds another finished run: it differs in {', '.join(changed)}. Choose another folder, "
            f"{REPLACE} to replace it."
        )
    import safetensors.torch

    try:
        model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    except Exception as error:  # truncated files fail in as many ways as there are readers
        raise CheckpointError(
            f"{folder / 'model.safetensors'} is damaged or missing ({error}). Pass resume=False (--no-resume) to train "
            "again."
        ) from error
    return Training(written["history"], identity)


def refuse_foreign(folder: Path, record: str = ENDED) -> None:
    """Make sure that no weights lie here that nothing of ours says it has written: they would be written over.

    Raises:
        CheckpointError: they do.
    """
    weights = folder / "model.safetensors"
    if weights.is_file() and not (folder / record).is_file():
        raise CheckpointError(
            f"{weights} is there, but no {record} that says that a run wrote it. Choose another folder, {REPLACE} to "
            "replace it."
        )


def forget_end(folder: Path) -> None:
    """Take away the record of a run or a search, so that another one that begins here can be gone on with.

    The weights stay until the other run has some.

    Raises:
        OSError: the folder cannot be written.
    """
    for record in (ENDED, SEARCH, TUNED):
        (folder / record).unlink(missing_ok=True)


def begin_anew(folder: Path) -> None:
    """Take away what runs have left in a folder but for their weights, and note that one begins.

    Killed before its first checkpoint, it can be gone on with.

    Raises:
        OSError: the folder cannot be written.
    """
    checkpoints = Checkpoints(folder / CHECKPOINTS, {})
    checkpoints.clear()
    checkpoints.begin()
    forget_end(folder)


def begin_tries_anew(folder: Path) -> list[Path]:
    """The same for every retraining with a weight of its own that an earlier search has in a folder.

    Where no run of ours says that it began or ended, weights may be a user's: they stay refused.

    Returns:
        The folders of all.

    Raises:
        OSError: one cannot be written.
    """
    tries = sorted(path for path in folder.glob("weight *") if path.is_dir())
    for path in tries:
        if (path / ENDED).is_file() or Checkpoints(path / CHECKPOINTS, {}).begun():
            begin_anew(path)
    return tries


def write_history(folder: Path, history: History) -> None:
    """One row an epoch, as CSV.

    Raises:
        OSError: the folder cannot be written.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, ["epoch", *history[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history, 1))
    write_text(folder / "history.csv", table.getvalue())


def write_end(folder: Path, model: nn.Module, training: Training, objective: Objective) -> None:
    """The weights, and the record that says that the run has ended.

    Raises:
        OSError: the folder cannot be written.
    """
    # So that an attack on these weights can follow what they were trained on.
    spec = as_spec(objective)
    save(model, folder / "model.safetensors", facts=None if spec is None else {"objective": spec})
    # Last, since it says that the run has ended.
    write_json(folder / ENDED, {"identity": training.identity, "history": training.history})
