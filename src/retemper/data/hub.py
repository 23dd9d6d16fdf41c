"""Reading files and Hub sets with Hugging Face `datasets`: quietly, and offline if need be."""

import contextlib
import glob
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retemper.data.cache import cache_folder
from retemper.data.found import ROLES
from retemper.errors import DataError

if TYPE_CHECKING:
    from datasets import DatasetDict

_PATIENCE = 5.0  # seconds to wait for the Hub's first answer


@contextlib.contextmanager
def open_local(path: Path) -> Iterator["DatasetDict"]:
    """Read a folder of parquet shards or images, or one .parquet or .csv file.

    The Arrow copy that `datasets` makes lies in our cache folder and is deleted when the block ends, so the
    source may be read-only and nothing is kept twice.
    """
    from datasets import load_dataset

    if glob.escape(str(path)) != str(path):
        raise DataError(f"{path} holds one of *?[, which `datasets` reads as a pattern; rename it.")
    with _scratch_folder() as scratch:
        try:
            with _quiet():
                if path.is_dir():
                    tables = load_dataset(str(path), data_files=_by_folder(path), cache_dir=scratch)
                else:
                    tables = load_dataset(path.suffix[1:], data_files=str(path), cache_dir=scratch)
        except Exception as error:  # Arrow, pandas, the file system: each has errors of its own
            raise DataError(
                f"{path} cannot be read: {_root(error)}. Expected a folder of parquet or csv files or of "
                "images (train/cat/1.png), or one .parquet or .csv file; fetch it anew if it is cut short."
            ) from error
        yield tables


def refuse_linked_folders(path: Path) -> None:
    """Make sure that no folder in a folder is a link: `datasets` drops what lies in most of them without a word.

    Raises:
        DataError: one is.
    """
    for entry in path.rglob("*"):
        if entry.is_symlink() and entry.is_dir():
            raise DataError(
                f"{entry} is a link to the folder {entry.resolve()}, whose files would be passed over. Move or copy "
                "that folder here, or link each of its files."
            )


def _by_folder(path: Path) -> dict[str, str] | None:
    """Which files make which split, where the folder's sub-folders say it; else None.

    `datasets` itself puts a file into every split whose name is anywhere in its path: test images of a class `train`
    would be trained on.
    """
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    names = [name for name in folders if not name.startswith((".", "__"))]
    splits = [name for name in names if name in ROLES]
    if "train" in splits and splits == names:
        return {name: f"{name}/**" for name in splits}
    # Folders of images beside others that are no splits are classes; tables may lie in folders of any name.
    files = [file for file in path.glob("*/*") if not file.name.startswith(".")]
    classes = all(file.is_file() and file.suffix not in (".parquet", ".csv") for file in files)
    return {"train": "*/*"} if splits and splits != names and classes else None


def open_hub(name: str) -> "DatasetDict":
    """Read a set from the Hugging Face Hub, or without a network from the cache of `datasets`."""
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    problem = None
    try:
        # One question without the retries that `datasets` makes, which take 23 s where there is no network.
        HfApi().dataset_info(name, timeout=_PATIENCE)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DataError(
            f"There is no file or folder {name!r}, and the Hugging Face Hub has no data set of that name "
            f"that you may read ({type(error).__name__}); check the name, or log in if the set is gated."
        ) from error
    except Exception as error:  # the HTTP library's own errors, which differ between versions of the Hub client
        problem = error
    try:
        with _offline() if problem else contextlib.nullcontext():
            return load_dataset(name)
    except Exception as error:
        if problem:
            raise DataError(
                f"There is no file or folder {name!r}, and the Hugging Face Hub cannot be reached "
                f"({type(problem).__name__}: {problem}) nor is {name} in its cache; connect to the network, "
                "or pass the path of a copy (mnist and cifar10 are also looked for in $RETEMPER_DATA)."
            ) from problem
        raise DataError(f"{name} cannot be read from the Hugging Face Hub: {_root(error)}.") from error


@contextlib.contextmanager
def _scratch_folder() -> Iterator[str]:
    """A folder to be deleted: in the cache, or where that cannot be written among the system's own."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=cache_folder(), prefix="arrow.", ignore_cleanup_errors=True)
    except OSError:
        scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with scratch as folder:
        yield folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep `datasets` from showing progress and from logging what we raise anyway."""
    from datasets.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    shown, verbosity = not are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            enable_progress_bars()


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Have `datasets` look only into its cache, without asking the network in vain."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _root(error: BaseException) -> str:
    """Say what lies at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".rstrip(".")
