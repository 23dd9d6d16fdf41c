"""Writing files so that a crash, a kill or a full disk never leaves half of one."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retemper.errors import CheckpointError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto it when the block ends well and deleted when not.

    What a link points to is replaced, not the link; a pipe or a device is written to as it is.

    Raises:
        OSError: the folder cannot be written or the disk is full; the file at `path` is then as it was.
    """
    if _is_special(path):
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.is_file() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Make sure, before work that takes long, that a file can be written at `path` after it; nothing is left there.

    Raises:
        OSError: it is a folder, or its own folder cannot be made or written.
    """
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file to write, but {path} is a folder")
    if _is_special(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent):
        pass


def _is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, such as /dev/stdout, which nothing may be moved onto."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path` whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that an earlier run wrote.

    Raises:
        CheckpointError: the file is not JSON, for example because it was cut short.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged and cannot be read as JSON ({error}). Delete it to compute it again."
        ) from None
