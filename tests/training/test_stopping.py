from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Data
from retemper.errors import CheckpointError, SettingError
from retemper.models import Network
from retemper.models.hashing import weights_hash
from retemper.objectives import CrossEntropy, differential_training
from retemper.training import Stopping, retrain, run

Kill = Callable[[int], AbstractContextManager[None]]


def noting(scores: list[float], seen: list[str]) -> Callable[[nn.Module], float]:
    """A score that gives one number after another and notes which weights it was asked about."""

    def score(model: nn.Module) -> float:
        seen.append(weights_hash(model))
        return scores[len(seen) - 1]

    return score


@pytest.mark.parametrize(
    ("scores", "patience", "epochs", "best"),
    [
        ([0.1, 0.5, 0.4, 0.3], 2, 4, 1),
        ([0.1, 0.5, 0.4, 0.6, 0.6, 0.6], 2, 6, 3),
        ([0.5, 0.5], 1, 2, 0),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6, 5),
        ([-0.5, -0.7], 1, 2, 0),
    ],
)
def test_it_ends_after_the_patience_with_the_weights_of_the_best_epoch(
    network: Network, digits: Data, scores: list[float], patience: int, epochs: int, best: int
) -> None:
    seen: list[str] = []
    stopping = Stopping(noting(scores, seen), patience)
    training = retrain(network, digits, CrossEntropy(), epochs=6, stopping=stopping, progress=False)
    assert [row["score"] for row in training.history] == scores[:epochs]
    assert weights_hash(network) == seen[best]
    assert training.chosen is training.history[best]
    assert len(set(seen)) == epochs


def test_the_best_epoch_has_its_own_buffers_also_those_that_are_not_saved(centring: nn.Module, digits: Data) -> None:
    seen: list[str] = []
    retrain(centring, digits, CrossEntropy(), epochs=2, stopping=Stopping(noting([0.2, 0.1], seen)), progress=False)
    assert weights_hash(centring) == seen[0]


def test_without_it_the_last_epoch_is_the_chosen_one(network: Network, digits: Data) -> None:
    training = retrain(network, digits, CrossEntropy(), epochs=2, progress=False)
    assert training.chosen is training.history[-1]
    assert "score" not in training.history[0]


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_run_goes_on_to_the_same_weights(
    network: Network, digits: Data, tmp_path: Path, killed_after: Kill, killed_in: int
) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}
    by_weights: dict[str, float] = {}
    numbers: Iterator[float] = iter([0.3, 0.6, 0.2, 0.1])

    def score(model: nn.Module) -> float:
        return by_weights.setdefault(weights_hash(model), next(numbers, -1.0))

    settings = {"epochs": 5, "stopping": Stopping(score, patience=2), "progress": False}
    whole = retrain(network, digits, CrossEntropy(), **settings)
    wanted = weights_hash(network)
    network.load_state_dict(start)
    with killed_after(killed_in):
        retrain(network, digits, CrossEntropy(), out=tmp_path, **settings)
    network.load_state_dict(start)
    again = retrain(network, digits, CrossEntropy(), out=tmp_path, **settings)
    assert weights_hash(network) == wanted
    assert [row["score"] for row in again.history] == [row["score"] for row in whole.history] == [0.3, 0.6, 0.2, 0.1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "model.safetensors", "training.json"]
    network.load_state_dict(start)
    assert retrain(network, digits, CrossEntropy(), out=tmp_path, **settings).chosen["score"] == 0.6
    assert weights_hash(network) == wanted


@pytest.mark.parametrize("before", [True, False])
def test_a_killed_run_does_not_go_on_under_another_rule(
    network: Network, digits: Data, tmp_path: Path, killed_after: Kill, before: bool
) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}
    rules = {True: Stopping(lambda _model: 0.5, patience=3), False: None}
    with killed_after(1):
        retrain(network, digits, CrossEntropy(), epochs=3, stopping=rules[before], out=tmp_path, progress=False)
    network.load_state_dict(start)
    with pytest.raises(CheckpointError, match="its stopping is"):
        retrain(network, digits, CrossEntropy(), epochs=3, stopping=rules[not before], out=tmp_path, progress=False)


def test_a_damaged_best_epoch_is_an_error_that_says_what_to_do(
    network: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}

    def stop(*_args: object) -> None:
        raise RuntimeError

    stopping = Stopping(noting([0.5, 0.4], []), 1)
    monkeypatch.setattr(run, "write_end", stop)
    with pytest.raises(RuntimeError):
        retrain(network, digits, CrossEntropy(), epochs=4, stopping=stopping, out=tmp_path, progress=False)
    monkeypatch.undo()
    best = tmp_path / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:100])
    network.load_state_dict(start)
    with pytest.raises(CheckpointError, match=r"best\.safetensors.*resume=False"):
        retrain(network, digits, CrossEntropy(), epochs=4, stopping=stopping, out=tmp_path, progress=False)


def test_another_score_is_another_run(network: Network, digits: Data, tmp_path: Path) -> None:
    start = {name: value.clone() for name, value in network.state_dict().items()}
    first = Stopping(lambda _model: 0.5, of="a")
    retrain(network, digits, CrossEntropy(), epochs=2, stopping=first, out=tmp_path, progress=False)
    for other in (Stopping(lambda _model: 0.5, of="b"), None):
        network.load_state_dict(start)
        with pytest.raises(CheckpointError, match="differs in stopping"):
            retrain(network, digits, CrossEntropy(), epochs=2, stopping=other, out=tmp_path, progress=False)


def test_the_score_sees_what_training_leaves_open_settled(network: Network, digits: Data) -> None:
    biases: list[Tensor] = []

    def score(model: nn.Module) -> float:
        biases.append(model.get_parameter("logits.bias").detach().clone())
        return float(len(biases))

    retrain(
        network, digits, differential_training(0), epochs=2, batch_size=512, stopping=Stopping(score), progress=False
    )
    assert len(biases) == 2
    assert torch.equal(biases[-1], network.get_parameter("logits.bias"))
    assert all(bias.abs().sum() > 0 for bias in biases)


def test_a_patience_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match="`patience` to be 1 or more, but got 0"):
        Stopping(lambda _model: 0.0, patience=0)


def test_a_score_may_be_a_tensor(network: Network, digits: Data, tmp_path: Path) -> None:
    stopping = Stopping(lambda _model: torch.tensor(0.25))  # type: ignore[arg-type,return-value]
    training = retrain(network, digits, CrossEntropy(), epochs=1, out=tmp_path, stopping=stopping, progress=False)
    assert training.history[0]["score"] == 0.25


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, torch.zeros(2)])
def test_a_score_that_is_no_number_is_refused(network: Network, digits: Data, score: object) -> None:
    with pytest.raises(SettingError, match="finite number"):
        retrain(network, digits, CrossEntropy(), epochs=1, stopping=Stopping(lambda _model: score), progress=False)
