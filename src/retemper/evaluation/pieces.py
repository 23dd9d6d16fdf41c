"""The parts of a long evaluation on disk, so that the same call goes on where a killed one was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from retemper.errors import CheckpointError
from retemper.files import read_json, replacing, write_json
from retemper.identity import REPLACE, differences

IDENTITY = "evaluation.json"
KINDS = ("chunk", "alarms", "answers")  # what the names of pieces begin with
DATA = "data (other images or labels, or another number of them)"  # of which a hash alone is kept


class Piece(NamedTuple):
    """What one part found: tensors, and facts as JSON holds them."""

    tensors: dict[str, Tensor]
    facts: Any


class Pieces:
    """The parts of one evaluation, each a safetensors file, beside `evaluation.json` which says what it is.

    Args:
        folder: where; None keeps nothing.
        identity: everything that makes the evaluation what it is, as JSON.
        resume: go on from what is there; False begins anew.

    Raises:
        CheckpointError: the folder holds another evaluation, or is damaged.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any], *, resume: bool) -> None:
        self.folder = folder
        if folder is None:
            return
        written = folder / IDENTITY
        known = _known(folder)
        if not resume:
            forget_pieces(folder)
        if written.is_file():
            _check_same(written, identity)
        elif resume and known:
            raise CheckpointError(
                f"{folder} holds parts of an evaluation, such as {known[0].name}, but no {written.name} that says of "
                f"which. Name another folder, {REPLACE} to evaluate anew."
            )
        else:
            write_json(written, identity)

    def holds(self, name: str) -> bool:
        """Whether the piece of this name is there to be read back."""
        return self.folder is not None and self._path(name).is_file()

    def piece(self, name: str, compute: Callable[[], Piece]) -> Piece:
        """The piece of this name, which begins with one of `KINDS`, read back or computed and kept."""
        if self.holds(name):
            return _read(self._path(name))
        found = compute()
        if self.folder is not None:
            _write(self._path(name), found)
        return found

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.safetensors"


def forget_pieces(folder: Path) -> None:
    """Delete a kept evaluation; what else lies there, such as weights, is not ours to delete.

    Raises:
        OSError: the folder cannot be written.
    """
    for path in [*_known(folder), folder / IDENTITY]:
        path.unlink(missing_ok=True)


def _known(folder: Path) -> list[Path]:
    return [path for kind in KINDS for path in folder.glob(f"{kind}-*.safetensors")]


def _check_same(written: Path, identity: dict[str, Any]) -> None:
    if others := differences(read_json(written), identity):
        others = [DATA if other == "data" else other for other in others]
        raise CheckpointError(
            f"{written.parent} holds another evaluation: it differs in {', '.join(others)}. Name another folder, "
            f"{REPLACE} to evaluate anew."
        )


def _write(path: Path, found: Piece) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"facts": json.dumps(found.facts, allow_nan=False)})


def _read(path: Path) -> Piece:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            return Piece({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to compute that part again.") from error
