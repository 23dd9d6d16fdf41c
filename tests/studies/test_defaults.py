import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from retemper.errors import SettingError
from retemper.evaluation import Evaluation, evaluate
from retemper.evaluation.alarms import Alarm
from retemper.models.hashing import weights_hash
from retemper.objectives.presets import ENTROPIC_WEIGHT
from retemper.studies import attacking, defaults
from retemper.studies.cells import AUTO, DEFAULT, PGD, PLAIN
from retemper.studies.defaults import TASKS, Study, Task, run
from retemper.threats import L2, Linf
from retemper.tuning import tune

THREATS = (Linf(0.05), L2(0.3))
RINGING = Alarm("noisy", 2.0, 1.0, "images", "", "", "")
STUDY = Study(("digits",), ("mlp",), seeds=2, images=20)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "STEPS", 2)
    monkeypatch.setattr(attacking, "RESTARTS", 1)
    monkeypatch.setitem(TASKS, "digits", Task(THREATS, base_epochs=2, epochs=1))
    monkeypatch.setattr(defaults, "tune", partial(tune, tries=2, images=20))

    monkeypatch.setattr(attacking, "evaluate", partial(evaluate, alarms=False))  # they take seconds a network
    attack = defaults.measured

    def quickly(*arguments: Any, **settings: Any) -> Evaluation:
        found = attack(*arguments, **settings)
        first, second = found.robustness
        return replace(found, robustness=(replace(first, alarms=(RINGING,)), second))

    monkeypatch.setattr(defaults, "measured", quickly)


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in ("steps", "waited", "costs")}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def test_every_way_starts_from_one_network_and_a_killed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, str]] = []

    def noting(inner: Any) -> Any:
        def call(network: Any, *arguments: Any, out: Path, **settings: Any) -> Any:
            started.append((out.name, weights_hash(network)))
            return inner(network, *arguments, out=out, **settings)

        return call

    with monkeypatch.context() as watched:
        for name in ("retrain", "tune"):
            watched.setattr(defaults, name, noting(getattr(defaults, name)))
        found = run(STUDY, tmp_path / "whole", progress=False)
    (cell,) = found.cells
    assert [(one.way, one.seed) for one in cell.networks] == [
        (PLAIN, 0),
        (DEFAULT, 0),
        (AUTO, 0),
        (PGD, 0),
        (PLAIN, 1),
        (DEFAULT, 1),
        (AUTO, 1),
    ]
    for seed, count in (("0", 4), ("1", 3)):
        starts = [start for name, start in started if name.endswith(seed) and "base" not in name]
        assert len(starts) == count
        assert len(set(starts)) == 1
    assert len({start for _, start in started}) == 4  # two fresh and two trained networks
    for one in cell.networks:
        assert len(one.clean) == 20
        assert not any((standing & ~one.clean).any() for standing in one.standing.values())
        assert one.ringing == {THREATS[0]: (RINGING.name,), THREATS[1]: ()}
        assert (one.weight is None, one.steps is None) == (one.way != AUTO, one.way == AUTO)
        assert one.waited > (one.steps or 0)
    tuned = json.loads((tmp_path / "whole" / "digits" / "mlp-auto-1" / "tuned.json").read_text())
    assert cell.of(AUTO)[1].weight == tuned["weight"]
    assert [trial["weight"] for trial in tuned["trials"][:2]] == [0, ENTROPIC_WEIGHT]
    assert len(tuned["trials"]) == 3
    written = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert written == json.loads(json.dumps(found.as_json()))
    assert written["tasks"]["digits"]["threats"] == ["linf:0.05", "l2:0.3"]

    attack, calls = defaults.measured, iter(range(100))

    def killed(*arguments: Any, **settings: Any) -> Evaluation:
        if next(calls) == 2:  # auto is trained, and was to be attacked
            raise KeyboardInterrupt
        return attack(*arguments, **settings)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(defaults, "measured", killed)
        with pytest.raises(KeyboardInterrupt):
            run(STUDY, tmp_path / "killed", progress=False)
    folder = tmp_path / "killed" / "digits"
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("training.json")}
    assert len(kept) == 5  # the base, plain, entropic, and the two that auto tried
    resumed = run(STUDY, tmp_path / "killed", progress=False)
    assert without_times(resumed.as_json()) == without_times(found.as_json())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # A run that has ended tells the same times, too.
    assert run(STUDY, tmp_path / "killed", progress=False).as_json() == resumed.as_json()


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    inputs = generator.random((80, 5)).astype(np.float32)
    arrays = {"train_inputs": inputs[:60], "test_inputs": inputs[60:]}
    labels = {"train_labels": (inputs[:60, 0] > 0.5).astype(int), "test_labels": (inputs[60:, 0] > 0.5).astype(int)}
    np.savez(tmp_path / "vectors.npz", **arrays, **labels)
    return tmp_path / "vectors.npz"


def test_a_network_that_does_not_take_the_data_is_skipped_and_named(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, str(vectors), Task(THREATS, base_epochs=1, epochs=1))
    found = run(Study((str(vectors),), ("lenet5", "mlp"), seeds=1, images=10), tmp_path / "out", progress=False)
    assert [(cell.data, cell.model) for cell in found.cells] == [("vectors", "mlp")]
    (reason,) = found.skipped
    assert reason.startswith("lenet5 on vectors: The network 'lenet5' takes images")
    assert found.as_json()["skipped"] == [reason]


def test_parts_into_one_folder_are_read_back_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Study(("digits",), (model,), seeds=1, images=10) for model in ("small-cnn", "mlp")]
    cells = [json.dumps(run(part, tmp_path, progress=False).cells[0].as_json()) for part in parts]

    def refused(*_arguments: object, **_settings: object) -> NoReturn:
        raise AssertionError

    monkeypatch.setattr("retemper.training.run.train_epoch", refused)
    whole = run(Study(("digits",), ("small-cnn", "mlp"), seeds=1, images=10), tmp_path, progress=False)
    assert [json.dumps(cell.as_json()) for cell in whole.cells] == cells


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "`seeds` to be 1 or more, but got 0"),
        ({"models": ()}, "one data set and one network"),
        ({"data": ("digits", "iris")}, "data out of digits, mnist, cifar10, breast-cancer, but got iris"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Study(**changes)


def test_each_task_has_a_threat_of_each_norm_and_retrains_in_five_epochs_at_most() -> None:
    for task in TASKS.values():
        assert [threat.norm for threat in task.threats] == ["linf", "l2"]
        assert 1 <= task.epochs <= 5
