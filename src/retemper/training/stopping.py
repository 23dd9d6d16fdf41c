"""Early stopping on a score of the user's, and the weights of the best epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from retemper.checks import at_least_one
from retemper.errors import CheckpointError, SettingError
from retemper.models import save
from retemper.models.state import State
from retemper.training.checkpoints import History


@dataclass(frozen=True)
class Stopping:
    """A training ends before its last epoch when nothing gets better, and leaves the model as it was at its best.

    Attributes:
        score: of the model after each epoch, on validation data; higher is better. It leaves the model as it was.
        patience: so many epochs in a row without a higher score, and the training ends.
        of: what the score is, in words: a run goes on only under the same one.

    Raises:
        SettingError: `patience` is below one.
    """

    score: Callable[[nn.Module], float]
    patience: int = 1
    of: str = "score"

    def __post_init__(self) -> None:
        at_least_one(patience=self.patience)

    def scored(self, model: nn.Module) -> float:
        """The score of the model.

        Raises:
            SettingError: it is no finite number.
        """
        score = self.score(model)
        try:
            number = float(score)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if not math.isfinite(number):
            raise SettingError(f"Expected `score` to return a finite number, but it returned {score!r}.")
        return number

    @property
    def identity(self) -> str:
        """What makes a run with it another than one without."""
        return f"after {self.patience} without a better {self.of}"

    def is_over(self, history: History) -> bool:
        """Whether the epochs so far say that the training ends."""
        return bool(history) and len(history) - 1 - best_epoch(history) >= self.patience


def best_epoch(history: History) -> int:
    """The first of the highest score, from 0 on."""
    return max(range(len(history)), key=lambda epoch: history[epoch]["score"])


class BestWeights:
    """The weights of the best epoch so far, in memory, and in a file for a run that may be killed."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._state: State | None = None

    def keep(self, model: nn.Module, *, write: bool) -> None:
        """Take these; one process alone writes."""
        self._state = State(model)
        if self._file is not None and write:
            save(model, self._file)

    def put_back(self, model: nn.Module) -> None:
        """Give them to the model.

        Raises:
            CheckpointError: the run was killed, and its file is damaged.
        """
        import safetensors.torch

        if self._state is not None:
            self._state.put_back(model)
            return
        assert self._file is not None, "only a run in a folder goes on without having kept anything"
        try:
            weights = safetensors.torch.load_file(self._file)
        except Exception as error:  # truncated files fail in as many ways as there are readers
            raise CheckpointError(
                f"{self._file}, the best epoch of a run that was killed, is damaged or missing ({error}). "
                "Pass resume=False (--no-resume) to train again."
            ) from error
        model.load_state_dict(weights)
