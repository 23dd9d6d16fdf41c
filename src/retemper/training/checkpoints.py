"""Checkpoints: written whole or not at all, one an epoch, and read back only into the run that wrote them."""

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retemper.errors import CheckpointError
from retemper.files import read_json, write_json, write_text
from retemper.identity import OTHER_START, START

if TYPE_CHECKING:
    from accelerate import Accelerator

History = list[dict[str, float]]
BEGUN = "begun"  # an empty file that says that a run has begun here, before its first checkpoint
BEST = "best.safetensors"  # the weights of the best epoch so far, beside the checkpoints
_EPOCH = re.compile(r"epoch-\d{5}")


class Checkpoints:
    """The checkpoints of one run in a folder, the latest of which counts.

    A checkpoint is a folder that Accelerate writes (weights in safetensors, the optimiser's state in torch's
    own format, read back with `weights_only`) beside `run.json`, which says what the run is and how far it is.

    Args:
        folder: where; made when the first checkpoint is written.
        identity: everything that makes the run what it is, as JSON.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity

    def latest(self) -> Path | None:
        """The newest whole checkpoint; one is whole when it has its final name."""
        found = sorted(path for path in self.folder.glob("epoch-*") if _EPOCH.fullmatch(path.name))
        return found[-1] if found else None

    def begin(self) -> None:
        """Note that a run starts over here, whatever an earlier one left: killed at once, it can be gone on with.

        Raises:
            OSError: the folder cannot be written.
        """
        write_text(self.folder / BEGUN, "")

    def begun(self) -> bool:
        """Whether a run of ours has begun here and not ended."""
        return self.latest() is not None or (self.folder / BEGUN).is_file()

    def save(self, accelerator: "Accelerator", history: History) -> Path:
        """Write the state after the last epoch of `history`, then delete the checkpoint before it.

        Raises:
            OSError: the folder cannot be written or the disk is full; the checkpoint before is still there.
        """
        before = self.latest()
        final = self.folder / f"epoch-{len(history):05d}"
        unfinished = self.folder / "unfinished"
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
        accelerator.wait_for_everyone()
        try:
            accelerator.save_state(str(unfinished))
            accelerator.wait_for_everyone()  # each writes the state of its random numbers
            if accelerator.is_main_process:
                write_json(unfinished / "run.json", {"identity": self.identity, "history": history})
                unfinished.rename(final)
                if before is not None:
                    shutil.rmtree(before)
        except Exception as error:  # a full disk is another error in each of the formats
            shutil.rmtree(unfinished, ignore_errors=True)
            kept = f"the checkpoint before, {before}, is still there" if before else "there was none before"
            raise OSError(f"The checkpoint {final} could not be written ({error}); {kept}.") from error
        accelerator.wait_for_everyone()
        return final

    def restore(self, accelerator: "Accelerator") -> History:
        """Load the newest checkpoint into what Accelerate holds; the history is empty where there is none.

        Raises:
            CheckpointError: the checkpoint is damaged, or belongs to another run.
        """
        latest = self.latest()
        if latest is None:
            return []
        if not (latest / "run.json").is_file():
            raise CheckpointError(f"{latest} has no run.json, so it is damaged. {_ADVICE}")
        run = read_json(latest / "run.json")
        self._check(latest, run["identity"])
        try:
            accelerator.load_state(str(latest))
        except Exception as error:  # truncated files fail in as many ways as there are readers
            raise CheckpointError(f"{latest} is damaged and cannot be read ({error}). {_ADVICE}") from error
        history: History = run["history"]
        return history

    def _check(self, latest: Path, found: dict[str, Any]) -> None:
        changed = [key for key in {**found, **self.identity} if found.get(key) != self.identity.get(key)]
        if changed == [START]:
            raise CheckpointError(
                f"{latest} belongs to a run that {OTHER_START} or pass resume=False (--no-resume) to start over."
            )
        if changed:
            key = changed[0]
            raise CheckpointError(
                f"{latest} belongs to another run: its {key} is {found.get(key)!r}, but now it is "
                f"{self.identity.get(key)!r}. Choose another folder, or pass resume=False (--no-resume) to start over."
            )

    def clear(self) -> None:
        """Delete all checkpoints, once the run is over or starts over; what else lies there stays."""
        for path in self.folder.glob("epoch-*"):
            if _EPOCH.fullmatch(path.name) and (path / "run.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.folder / "unfinished", ignore_errors=True)
        for name in (BEST, BEGUN):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


_ADVICE = "Delete that folder to go on without it, or pass resume=False (--no-resume) to start over."
