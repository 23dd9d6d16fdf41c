import json
from pathlib import Path

import numpy as np
import pytest
import torch

from retemper.errors import SettingError
from retemper.objectives import Differential
from retemper.studies import attacking, differential
from retemper.studies.broken import Experiment
from retemper.studies.differential import LOSSES, candidates, run
from retemper.threats import L2

TINY = Experiment(
    data="digits",
    classes=("3", "8"),
    model="mlp",
    threats=(L2(0.5), L2(1.0)),
    epochs=2,
    long_epochs=20,
    seeds=2,
    images=30,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "STEPS", 5)
    monkeypatch.setattr(differential, "OPTIMISERS", (("adam", 1e-3), ("sgd", 0.05)))


def test_every_loss_budget_and_seed_is_trained_and_attacked_and_read_back(tmp_path: Path) -> None:
    outcome = run(TINY, tmp_path, progress=False)
    assert len(outcome.networks) == 2 * 2 * 2
    assert {trial.way for trial in outcome.trials} == {way.name for loss in LOSSES for way in candidates(loss, "mlp")}
    for loss in LOSSES:
        assert outcome.chosen[loss].startswith(loss)
        usual, long = (outcome.of(loss, budget) for budget in ("usual", "long"))
        assert [network.seed for network in long] == [0, 1]
        assert sum(n.training_errors for n in long) <= sum(n.training_errors for n in usual)
        for network in usual + long:
            assert {len(found.distances) for found in network.splits.values()} == {30}
    written = json.loads((tmp_path / "outcome.json").read_text())
    state = torch.get_rng_state()
    again = run(TINY, tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert json.loads(json.dumps(again.as_json())) == written
    for ours, theirs in zip(outcome.networks, again.networks, strict=True):
        for split, found in ours.splits.items():
            np.testing.assert_array_equal(found.distances, theirs.splits[split].distances)


def test_the_pair_loss_is_the_published_one() -> None:
    (way, *_) = candidates("differential", "mlp")
    assert repr(way.objective) == repr(1 * Differential())


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="two classes, but digits has 10"):
        run(Experiment(data="digits", classes=()), tmp_path, progress=False)
