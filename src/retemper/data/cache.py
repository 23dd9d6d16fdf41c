"""Decoded data, kept so that the next load is quick."""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retemper.data.found import Found
from retemper.data.hashing import content_hash
from retemper.data.splits import Split
from retemper.errors import RetemperError
from retemper.files import replacing

_VERSION = 2  # raise it when the same source decodes to something else


def cache_folder() -> Path:
    """Give `$RETEMPER_CACHE`, else `$XDG_CACHE_HOME/retemper`, else `~/.cache/retemper`."""
    if os.environ.get("RETEMPER_CACHE"):
        return Path(os.environ["RETEMPER_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retemper"


def cached(identity: Any, build: Callable[[], Found]) -> Found:
    """Give what was decoded before from the source of this identity, or decode and keep it.

    A damaged file is deleted and made anew. Where nothing can be written, a warning says so.

    Args:
        identity: What changes whenever the source does, as JSON.
        build: Reads and decodes the source.
    """
    key = hashlib.sha256(json.dumps([_VERSION, identity]).encode()).hexdigest()[:32]
    path = cache_folder() / "decoded" / f"{key}.safetensors"
    found = _read(path)
    if found is None:
        found = build()
        _write(path, found)
    return found


def files_identity(path: Path) -> list[list[Any]]:
    """Name, size and time of change of a file, or of all files in a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _read(path: Path) -> Found | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if text["hash"] != content_hash((tensors[name] for name in sorted(tensors)), [text["about"]]):
            raise ValueError("the content is not what was written")
        about = json.loads(text["about"])
        splits = {role: Split(tensors[f"{role}_inputs"], tensors[f"{role}_labels"]) for role in about["splits"]}
        return Found(splits, tuple(about["classes"]), about["note"])
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, RetemperError, ValueError, KeyError, TypeError):
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def _write(path: Path, found: Found) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"{role}_inputs": split.inputs for role, split in found.splits.items()}
    tensors |= {f"{role}_labels": split.labels for role, split in found.splits.items()}
    about = json.dumps({"splits": list(found.splits), "classes": found.classes, "note": found.note})
    digest = content_hash((tensors[name] for name in sorted(tensors)), [about])
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"about": about, "hash": digest})
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"The decoded data could not be kept in {path.parent} ({error}), so the next load decodes again; "
            "set RETEMPER_CACHE to a folder with room that can be written.",
            stacklevel=2,
        )
