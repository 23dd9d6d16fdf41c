from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from retemper.data import Data, load
from retemper.evaluation import evaluate, plan
from retemper.objectives import CrossEntropy
from retemper.studies import attacking
from retemper.studies.attacking import attacked, measured, tried
from retemper.studies.ways import Way
from retemper.threats import L2

THREATS = [L2(0.2), L2(0.8)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Data]:
    data = load("digits", classes=("3", "8"))
    folder = tmp_path_factory.mktemp("way")
    return Way("plain", CrossEntropy(), "mlp").train(data, folder, epochs=3, seed=0, progress=False)[0], data


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "STEPS", 5)
    monkeypatch.setattr(attacking, "TRIED_STEPS", 3)


def evaluated(model: nn.Module, data: Data, steps: int, restarts: int, **settings: Any) -> Any:
    attacks = plan(["apgd-ce", "apgd-margin"], steps=steps, restarts=restarts)
    return evaluate(model, data.test.take(60), THREATS, attacks=attacks, progress=False, **settings)


def test_what_is_attacked_is_known_at_every_radius(trained: tuple[nn.Module, Data], tmp_path: Path) -> None:
    model, data = trained
    found = attacked(model, data.test.take(60), THREATS, tmp_path, progress=False, label="test")
    again = evaluated(model, data, 5, 2, curve=True, alarms=False)
    assert (found.distances == 0).tolist() == (~found.clean).tolist()
    for threat, robustness in zip(THREATS, again.robustness, strict=True):
        assert (found.distances > threat.radius).tolist() == robustness.standing.tolist()
    assert found.broken(0.8).mean() > 0


def test_what_is_measured_has_alarms_and_what_is_tried_has_none(
    trained: tuple[nn.Module, Data], tmp_path: Path
) -> None:
    model, data = trained
    images = data.test.take(60)
    final = measured(model, images, THREATS, tmp_path / "final", progress=False, label="test")
    quick = tried(model, images, THREATS, tmp_path / "quick", progress=False, label="test")
    for found, again in ((final, evaluated(model, data, 5, 2)), (quick, evaluated(model, data, 3, 1, alarms=False))):
        assert found.attacks == again.attacks
        for ours, theirs in zip(found.robustness, again.robustness, strict=True):
            np.testing.assert_array_equal(ours.standing, theirs.standing)
            assert len(ours.alarms) == len(theirs.alarms)
    assert len(final.robustness[0].alarms) == 12
    assert quick.robustness[0].alarms == ()
