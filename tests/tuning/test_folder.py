import json
from pathlib import Path
from typing import Any

import pytest

from retemper.errors import CheckpointError
from retemper.tuning.folder import begin

SEARCH = {"objective": "CrossEntropy()", "give_up": 0.01, "settings": {"epochs": 2}, "patience": None}


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_same_search_goes_on_and_another_one_is_refused_by_what_differs(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tuned"
    begin(folder, SEARCH, resume=True)
    assert json.loads((folder / "search.json").read_text()) == SEARCH
    (folder / "model.safetensors").write_text("weights")
    before = files(folder)
    begin(folder, SEARCH, resume=True)
    other: dict[str, Any] = SEARCH | {"give_up": 0.05, "patience": 2}
    with pytest.raises(
        CheckpointError, match=r"differs in give_up \(was 0.01, is 0.05\), patience \(was null, is 2\)\. Choose"
    ):
        begin(folder, other, resume=True)
    assert files(folder) == before


def test_a_search_that_began_with_other_weights_is_told_from_another_search(tmp_path: Path) -> None:
    began = SEARCH | {"start": "0123456789abcdef"}
    begin(tmp_path, began, resume=True)
    with pytest.raises(CheckpointError, match=r"began with other weights than the model has now.*resume=False"):
        begin(tmp_path, began | {"start": "fedcba9876543210"}, resume=True)


@pytest.mark.parametrize("record", [None, "training.json"])
def test_weights_that_no_search_wrote_are_refused(record: str | None, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("weights")
    if record is not None:
        (tmp_path / record).write_text("{}")
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=r"no search\.json that says that a run wrote it"):
        begin(tmp_path, SEARCH, resume=True)
    assert files(tmp_path) == before


def test_begun_anew_it_takes_the_place_of_any_run_or_search(tmp_path: Path) -> None:
    for name in ("model.safetensors", "training.json", "tuned.json", "search.json", "mine.txt"):
        (tmp_path / name).write_text("{}")
    begin(tmp_path, SEARCH, resume=False)
    # The weights stay until there are others.
    assert set(files(tmp_path)) == {"model.safetensors", "search.json", "mine.txt"}
    assert json.loads((tmp_path / "search.json").read_text()) == SEARCH


def test_begun_anew_what_earlier_tries_left_stops_no_search_that_is_killed_and_goes_on(tmp_path: Path) -> None:
    for name in ("as it was", "weight 0.5", "weight 2"):
        attacked = tmp_path / name / "validation"
        attacked.mkdir(parents=True)
        for file in ("evaluation.json", "chunk-0.safetensors", "mine.safetensors"):
            (attacked / file).write_text("{}")
    for name in ("weight 2/model.safetensors", "weight 2/training.json", "weight 0.5/model.safetensors"):
        (tmp_path / name).write_text("{}")
    begin(tmp_path, SEARCH, resume=False)
    for name in ("as it was", "weight 0.5", "weight 2"):
        assert [path.name for path in (tmp_path / name / "validation").iterdir()] == ["mine.safetensors"]
    # Where the search comes to this weight, it finds a run that has only just begun.
    assert not (tmp_path / "weight 2" / "training.json").exists()
    assert (tmp_path / "weight 2" / "model.safetensors").is_file()
    assert (tmp_path / "weight 2" / "checkpoints" / "begun").is_file()
    # No run of ours wrote those weights, as far as anything says: to go on, a search refuses to write over them.
    assert not (tmp_path / "weight 0.5" / "checkpoints").exists()
