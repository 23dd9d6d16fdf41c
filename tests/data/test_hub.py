from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from datasets import Dataset, DatasetDict
from datasets.utils import are_progress_bars_disabled
from datasets.utils import logging as hub_logging
from PIL import Image

from retemper.data.hub import open_hub, open_local
from retemper.errors import DataError

TABLE = Dataset.from_dict({"a": [0.1, 0.2, 0.3], "y": [0, 1, 0]})


class UnreachableError(Exception):
    """As the HTTP library of the Hub client raises, whichever that is: no OSError."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answer_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    def dataset_info(self: object, name: str, timeout: float) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)


def test_folder_is_read_and_no_trace_is_left(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    TABLE.to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "theirs")
    capfd.readouterr()
    with open_local(tmp_path / "set") as tables:
        assert tables["train"].to_dict() == TABLE.to_dict()
    assert list(cache.iterdir()) == []
    assert not (tmp_path / "theirs").exists()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["train-00000-of-00001.parquet"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_one_file_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set.{suffix}"
    getattr(TABLE, f"to_{suffix}")(path)
    with open_local(path) as tables:
        assert tables["train"].to_dict() == TABLE.to_dict()


def test_cache_that_cannot_be_written_does_not_matter(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    TABLE.to_parquet(tmp_path / "set.parquet")
    with open_local(tmp_path / "set.parquet") as tables:
        assert len(tables["train"]) == 3


@pytest.mark.parametrize("shown", [True, False])
def test_settings_of_datasets_are_put_back(tmp_path: Path, shown: bool) -> None:
    (datasets.enable_progress_bars if shown else datasets.disable_progress_bars)()
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(hub_logging.INFO)
    try:
        with pytest.raises(DataError), open_local(tmp_path):
            pass
        assert are_progress_bars_disabled() is not shown
        assert hub_logging.get_verbosity() == hub_logging.INFO
    finally:
        hub_logging.set_verbosity(verbosity)
        datasets.enable_progress_bars()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text" * 99])
def test_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set.parquet").write_bytes(content)
    with (
        pytest.raises(DataError, match=r"set\.parquet cannot be read: .*fetch it anew"),
        open_local(tmp_path / "set.parquet"),
    ):
        pass
    assert capfd.readouterr() == ("", "")


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    TABLE.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"set\.parquet cannot be read"), open_local(path):
        pass


def test_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: EmptyDatasetError"), open_local(tmp_path):
        pass


def test_path_that_would_be_read_as_a_pattern_is_refused(tmp_path: Path) -> None:
    (tmp_path / "[1]").mkdir()
    with pytest.raises(DataError, match=r"reads as a pattern; rename it"), open_local(tmp_path / "[1]"):
        pass


def test_hub_set_is_loaded_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    answer_with(monkeypatch, None)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: calls.append((a, k)) or DatasetDict(train=TABLE))
    assert open_hub("me/set")["train"] is TABLE
    assert calls == [(("me/set",), {})]


def test_without_a_network_the_cache_of_datasets_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_offline(name: str) -> DatasetDict:
        assert datasets.config.HF_HUB_OFFLINE
        return DatasetDict(train=TABLE)

    answer_with(monkeypatch, UnreachableError("no route"))
    monkeypatch.setattr(datasets, "load_dataset", only_offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    assert open_hub("me/set")["train"] is TABLE
    assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("no route"),
        TimeoutError("slow"),
        huggingface_hub.errors.OfflineModeIsEnabled("off"),
    ],
)
def test_without_a_network_and_a_copy_the_error_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    answer_with(monkeypatch, error)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match=r"cannot be reached .* nor is me/set-of-nobody in its cache; connect"):
        open_hub("me/set-of-nobody")
    assert datasets.config.HF_HUB_OFFLINE is False


def test_name_that_the_hub_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    response: Any = SimpleNamespace(headers={}, request=None)
    answer_with(monkeypatch, huggingface_hub.errors.RepositoryNotFoundError("404", response=response))
    with pytest.raises(DataError, match="no file or folder 'me/st', and the Hugging Face Hub has no data set"):
        open_hub("me/st")


def test_name_that_is_no_hub_id_is_refused() -> None:
    with pytest.raises(DataError, match="HFValidationError"):
        open_hub("a/b/c")


def test_hub_set_that_cannot_be_read_names_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        try:
            raise KeyError("feature")
        except KeyError as error:
            raise RuntimeError("An error occurred") from error

    answer_with(monkeypatch, None)
    monkeypatch.setattr(datasets, "load_dataset", broken)
    with pytest.raises(DataError, match=r"me/set cannot be read .*KeyError: 'feature'"):
        open_hub("me/set")


@pytest.mark.parametrize(
    ("folders", "rows"),
    [
        (["train/bus", "train/train", "test/bus", "test/train"], {"train": 4, "test": 4}),
        (["train/bus", "train/test", "test/bus", "test/test"], {"train": 4, "test": 4}),
        (["bus", "train"], {"train": 4}),
        (["bus", "test", "val"], {"train": 6}),
        (["bus", "train", "dev"], {"train": 6}),
        (["train/bus", "train/car", "valid/bus", "valid/car"], {"train": 4, "valid": 4}),
    ],
)
def test_classes_that_are_called_like_splits_stay_classes(
    folders: list[str], rows: dict[str, int], tmp_path: Path
) -> None:
    for folder in folders:
        (tmp_path / "set" / folder).mkdir(parents=True)
        for shade in range(2):
            Image.new("L", (4, 4), shade).save(tmp_path / "set" / folder / f"{shade}.png")
    with open_local(tmp_path / "set") as tables:
        assert {name: len(table) for name, table in tables.items()} == rows
        for table in tables.values():
            assert set(table.features["label"].names) == {Path(folder).name for folder in folders}


def test_splits_without_train_are_no_classes(tmp_path: Path) -> None:
    for split in ("test", "val"):
        (tmp_path / "set" / split / "bus").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "set" / split / "bus" / "0.png")
    with open_local(tmp_path / "set") as tables:
        assert "train" not in tables


def test_a_table_in_a_folder_called_test_is_not_trained_on(tmp_path: Path) -> None:
    for folder in ("data", "test"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Dataset.from_dict({"label": [0, 1]}).to_parquet(tmp_path / "set" / folder / "0.parquet")
    with open_local(tmp_path / "set") as tables:
        assert len(tables["test"]) == 2
        assert "train" not in tables
