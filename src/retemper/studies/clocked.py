"""How long work took that goes on after a kill."""

from collections.abc import Callable
from pathlib import Path
from time import time
from typing import TypeVar

from retemper.files import read_json, write_json

Found = TypeVar("Found")


def clocked(folder: Path, work: Callable[[], Found]) -> tuple[Found, float]:
    """Do work that keeps what is done in a folder, and tell the seconds that it took by the clock on the wall.

    They are kept there, in `clock.json`: once the work has ended, doing it again only reads it back and tells the same.
    Of a run that was killed the time counts up to the last file that it wrote: what it did later has to be done again.

    Raises:
        CheckpointError: `clock.json` is damaged.
        OSError: it cannot be written.
    """
    path = folder / "clock.json"
    seconds, began = 0.0, None
    if path.is_file():
        kept = read_json(path)
        seconds, began = kept["seconds"], kept["began"]
        if began is None:
            return work(), seconds
        seconds += max(0.0, _last_written(folder) - began)
    began = time()
    write_json(path, {"seconds": seconds, "began": began})
    found = work()
    seconds += time() - began
    write_json(path, {"seconds": seconds, "began": None})
    return found, seconds


def _last_written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())
