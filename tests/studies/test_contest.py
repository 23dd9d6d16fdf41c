import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from retemper.errors import SettingError
from retemper.evaluation.intervals import paired_difference
from retemper.objectives import CrossEntropy, Differential
from retemper.studies import attacking, ways
from retemper.studies import contest as contest_module
from retemper.studies.contest import Contest, Network, Result, run
from retemper.studies.ways import Way
from retemper.threats import L2, Linf

PLAIN = Way("plain", CrossEntropy(), "mlp", settings={"learning_rate": 1e-3})
SLOW = Way("slow", CrossEntropy(), "mlp", settings={"learning_rate": 1e-9})
PAIRS = Way("pairs", Differential(), "mlp")
THREATS = (L2(0.5), Linf(0.05))


def contest(**changes: object) -> Contest:
    settings: dict[str, object] = {
        "data": "digits",
        "classes": ("3", "8"),
        "rivals": {"cross-entropy": [SLOW, PLAIN], "differential": [PAIRS]},
        "threats": THREATS,
        "epochs": 2,
        "seeds": 2,
        "images": 20,
    }
    return Contest(**(settings | changes))  # type: ignore[arg-type]  # what a caller without types could pass


def test_rivals_are_tuned_where_there_is_a_choice_then_trained_attacked_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacking, "STEPS", 3)
    result = run(contest(), tmp_path, progress=False)
    assert result.chosen == {"cross-entropy": "plain", "differential": "pairs"}
    assert [trial.way for trial in result.trials] == ["slow", "plain", "pairs"]
    assert [(network.rival, network.seed) for network in result.networks] == [
        ("cross-entropy", 0),
        ("differential", 0),
        ("cross-entropy", 1),
        ("differential", 1),
    ]
    for network in result.networks:
        assert len(network.clean) == 20
        assert network.seconds > 0
        for standing in network.standing:
            assert not (standing & ~network.clean).any()
    assert result.networks[0].clean.mean() > 0.5
    once = run(contest(once=("cross-entropy",)), tmp_path, progress=False)
    assert [(network.rival, network.seed) for network in once.networks] == [
        ("cross-entropy", 0),
        ("differential", 0),
        ("differential", 1),
    ]
    assert len(once.gains()) == 2
    run(contest(), tmp_path, progress=False)
    written = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(json.dumps(run(contest(), tmp_path, progress=False).as_json())) == written
    assert written["contest"]["rivals"]["differential"]["pairs"]["objective"] == repr(Differential())
    assert set(written["networks"][0]["standing"]) == {"l2:0.5", "linf:0.05"}


def test_processes_that_share_the_rivals_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "STEPS", 3)
    alone = run(contest(seeds=1), tmp_path / "alone", progress=False)
    for part, rival in enumerate(("cross-entropy", "differential")):
        half = run(contest(seeds=1), tmp_path / "shared", part=part, parts=2, progress=False)
        assert [network.rival for network in half.networks] == list(half.chosen) == [rival]
    assert not (tmp_path / "shared" / "result.json").exists()

    def untrained(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("retemper.training.run.train_epoch", untrained)
    together = run(contest(seeds=1), tmp_path / "shared", progress=False)
    assert (tmp_path / "shared" / "result.json").is_file()
    assert together.chosen == alone.chosen
    for ours, theirs in zip(together.networks, alone.networks, strict=True):
        np.testing.assert_array_equal(ours.clean, theirs.clean)
        np.testing.assert_array_equal(ours.standing, theirs.standing)


def test_a_floor_that_hangs_on_the_first_rival_is_not_shared_out(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="give_up"):
        run(contest(give_up=0.1), tmp_path, parts=2, progress=False)


@pytest.mark.parametrize(("give_up", "chosen"), [(0.5, "robust"), (0.02, "clean"), (None, "robust")])
def test_others_give_up_no_more_clean_accuracy_than_is_allowed(
    give_up: float | None, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = {"plain": (0.95, 0.1), "clean": (0.94, 0.2), "robust": (0.92, 0.4), "poor": (0.4, 0.5)}
    names = iter(reached)

    def found(*_arguments: object, **_settings: object) -> SimpleNamespace:
        clean, robust = reached[next(names)]
        return SimpleNamespace(clean=np.array([clean]), robustness=[SimpleNamespace(accuracy=robust)])

    monkeypatch.setattr(Way, "train", lambda *_arguments, **_settings: (None, SimpleNamespace(seconds=1.0)))
    monkeypatch.setattr(ways, "tried", found)
    monkeypatch.setattr(ways, "WITHIN", 0.03)
    stands = SimpleNamespace(standing=np.ones(20, bool), ringing=())
    tested = SimpleNamespace(clean=np.ones(20, bool), robustness=[stands])
    monkeypatch.setattr(contest_module, "measured", lambda *_arguments, **_settings: tested)
    rivals = {
        "first": [Way("plain", CrossEntropy(), "mlp")],
        "other": [Way(name, CrossEntropy(), "mlp") for name in ("clean", "robust", "poor")],
    }
    result = run(contest(rivals=rivals, give_up=give_up, threats=(L2(0.5),)), tmp_path, progress=False)
    assert result.chosen == {"first": "plain", "other": chosen}


def test_gains_are_over_the_first_rival_paired_over_images() -> None:
    stands = {
        "cross-entropy": [np.array([True, False, False, False]), np.array([True, True, False, False])],
        "differential": [np.array([True, True, True, False]), np.array([True, True, False, True])],
    }
    networks = tuple(
        Network(rival, seed, 1.0, np.ones(4, bool), (each, ~each), ((), ()))
        for rival, of_seeds in stands.items()
        for seed, each in enumerate(of_seeds)
    )
    gains = Result(contest(), {}, (), networks).gains()
    assert [(gain.rival, gain.threat) for gain in gains] == [("differential", "l2:0.5"), ("differential", "linf:0.05")]
    assert gains[0].mean == (0.75 + 0.75 - 0.25 - 0.5) / 2
    assert gains[1].mean == -gains[0].mean
    assert gains[0].interval == paired_difference(stands["differential"], stands["cross-entropy"])[1]
    assert gains[0].each == tuple(
        paired_difference([one], [other])[1]
        for one, other in zip(stands["differential"], stands["cross-entropy"], strict=True)
    )


@pytest.mark.parametrize("once", ["cross-entropy", "differential"])
def test_a_rival_that_was_trained_once_is_paired_with_the_same_seed(once: str) -> None:
    stands = {"cross-entropy": [True, False], "differential": [False, False]}
    networks = tuple(
        Network(rival, seed, 1.0, np.ones(4, bool), (np.full(4, stands[rival][seed]),) * 2, ((), ()))
        for rival in stands
        for seed in range(1 if rival == once else 2)
    )
    gains = Result(contest(once=(once,)), {}, (), networks).gains()
    assert [gain.mean for gain in gains] == [-1, -1]
    assert len(gains[0].each) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "`seeds` to be 1 or more, but got 0"),
        ({"threats": ()}, "at least one threat"),
        ({"once": ("pgd",)}, "`once` out of cross-entropy, differential, but got pgd"),
        ({"floor": 0.9, "give_up": 0.01}, "`floor` or `give_up`, but got both"),
        ({"rivals": {"alone": [PLAIN]}}, "two rivals or more, but got alone"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        contest(**changes)
