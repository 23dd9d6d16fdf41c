import json
import sys
from pathlib import Path

import pytest

from retemper.data import Split, load
from retemper.errors import SettingError
from retemper.studies import attacking, entropic
from retemper.studies.entropic import run
from retemper.studies.experiment import Experiment
from retemper.studies.looks import Seen
from retemper.studies.ways import Trial, Way
from retemper.threats import L2, Linf

# Two of one norm, so that neither is taken for the other when it is read back.
THREATS = (Linf(0.02), Linf(0.3))
TINY = Experiment(
    data="digits",
    models=("mlp",),
    weights=(0.02, 0.1),
    base_epochs=2,
    epochs=1,
    augmentation="none",
    seeds=2,
    images=20,
    threats=THREATS,
)


def test_everything_is_trained_looked_at_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "TRIED_STEPS", 2)
    attacked = []

    def stub(_network: object, split: Split, _threat: object, out: Path) -> list[Seen]:
        attacked.append(out.name)
        return [Seen("AutoAttack", split.labels.numpy() >= 0)]

    monkeypatch.setattr(entropic, "official", stub)
    outcome = run(TINY, tmp_path, progress=False)
    assert [(one.way, one.seed) for one in outcome.networks] == [
        ("plain", 0),
        ("entropic", 0),
        ("plain", 1),
        ("entropic", 1),
        ("pgd", 0),
    ]
    assert [trial.way for trial in outcome.trials] == ["mlp-plain", "mlp-entropic-0.02", "mlp-entropic-0.1"]
    chosen = outcome.chosen["mlp"]
    assert attacked == [f"{chosen}-0"] * 2 + ["mlp-pgd-0"] * 2
    for one in outcome.networks:
        assert len(one.clean) == 20
        for threat in THREATS:
            names = [seen.look for seen in one.seen[threat]]
            assert names[-1] == ("AutoAttack" if one.seed == 0 and one.way != "plain" else "standard")
            assert not (one.worst(threat) & ~one.clean).any()
        assert one.worst(THREATS[0]).sum() > one.worst(THREATS[1]).sum()
    pgd = json.loads((tmp_path / "mlp-pgd-0" / "training.json").read_text())
    assert len(pgd["history"]) == 3
    written = json.loads((tmp_path / "outcome.json").read_text())
    assert json.loads(json.dumps(run(TINY, tmp_path, progress=False).as_json())) == written


def test_without_autoattack_it_is_refused_before_any_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    monkeypatch.setattr(entropic, "tuned", lambda *_arguments, **_options: pytest.fail("trained"))
    with pytest.raises(SettingError, match="AutoAttack is not installed"):
        run(TINY, tmp_path)


def test_weights_are_chosen_by_the_task_and_within_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tuned(ways: list[Way], _data: object, threats: object, *_rest: object, floor: float | None, **_options: object):  # type: ignore[no-untyped-def]
        asked.append((threats, floor))
        if floor is not None:
            raise KeyboardInterrupt  # all is seen
        return ways[0], [Trial(ways[0].name, 0.8, 0.1)]

    monkeypatch.setattr(entropic, "load", lambda _name: load("digits"))
    monkeypatch.setattr(entropic, "tuned", tuned)
    experiment = Experiment(models=("mlp",), give_up=0.3, autoattack=False)
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path, progress=False)
    assert asked == [((Linf(2 / 255), L2(0.25)), None), ((Linf(2 / 255), L2(0.25)), pytest.approx(0.5))]
