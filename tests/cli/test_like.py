"""`retemper train --objective mimic --like ...` on the digits."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retemper.cli import app as command
from retemper.cli import training
from retemper.data import load
from retemper.models import load as load_model
from retemper.models.storage import read_facts
from retemper.objectives import Mimic
from retemper.objectives.presets import MIMIC_WEIGHT

SMALL = ["train", "--data", "digits", "--classes", "3,8", "--model", "mlp", "--no-progress"]


def small(options: Sequence[str]) -> list[str]:
    """With a fresh network, unless the options name one to go on from."""
    return [word for word in SMALL if "--from" not in options or word not in ("--model", "mlp")]


def train(*words: str) -> Result:
    result = CliRunner().invoke(command.app, [*small(words), *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    train("--epochs", "3", "--out", str(out))
    return out / "model.safetensors"


@pytest.fixture(scope="module")
def robust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("robust")
    train("--epochs", "10", "--batch-size", "16", "--objective", "entropic:0.5", "--seed", "1", "--out", str(out))
    return out / "model.safetensors"


def misses(weights: Path, like: Path) -> float:
    data = load("digits", classes=("3", "8"))
    batch = data.train.batch(slice(None))
    return Mimic.of(load_model(like), [batch])(load_model(weights), *batch).item()


def test_retraining_moves_the_profile_towards_that_of_the_robust_network(
    plain: Path, robust: Path, tmp_path: Path
) -> None:
    options = ["--from", str(plain), "--objective", "mimic:1000", "--like", str(robust), "--epochs", "10"]
    result = train(*options, "--batch-size", "16", "--out", str(tmp_path))
    assert "1000 * Mimic" in " ".join(result.output.split())
    assert misses(tmp_path / "model.safetensors", robust) < 0.1 * misses(plain, robust)


def test_targets_are_the_robust_networks_entropies_on_training_images(
    plain: Path, robust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SHOWN", 100)
    options = ["--from", str(plain), "--objective", "mimic", "--like", str(robust), "--epochs", "1"]
    train(*options, "--batch-size", "30", "--out", str(tmp_path))
    shown = load("digits", classes=("3", "8")).train.take(100)
    expected = Mimic.of(load_model(robust), shown.batches(30))
    plainly, mimic = read_facts(tmp_path / "model.safetensors")["objective"]
    assert plainly == {"weight": 1.0, "term": "cross-entropy"}
    assert mimic["term"] == "mimic"
    assert mimic["targets"] == [list(target) for target in expected.targets]


def test_auto_chooses_the_weight(plain: Path, robust: Path, tmp_path: Path) -> None:
    options = ["--from", str(plain), "--objective", "mimic:auto", "--like", str(robust), "--epochs", "1"]
    train(*options, "--threat", "linf:0.1", "--give-up", "0.1", "--out", str(tmp_path))
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert len(tuned["trials"]) == 6
    assert tuned["trials"][1]["weight"] == MIMIC_WEIGHT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "mimick"], "recipe-or-jacobian, pgd, mimic, but got 'mimick'"),
        (["--objective", "mimic"], "Expected --like"),
        (["--objective", "mimic:10"], "Expected --like"),
        (["--objective", " mimic:auto"], "Expected --like"),
        (["--objective", "entropic", "--like", "{robust}"], "--like goes with --objective mimic alone"),
        (["--like", "{robust}"], "but got 'plain'; leave out --like"),
        (["--objective", "mimic:high", "--like", "{robust}"], "mimic:WEIGHT with a number"),
        (["--objective", "mimic", "--like", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--objective", "mimic", "--like", "{robust}", "--classes", "3,8,9"], "2 logits, but digits has 3 classes"),
        (
            ["--objective", "mimic", "--like", "{robust}", "--model", "small-cnn"],
            "No layer of Network fits 'dense2_act'",
        ),
    ],
)
def test_what_cannot_be_mimicked_is_one_clear_message(
    options: list[str],
    message: str,
    robust: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [str(robust) if word == "{robust}" else word for word in options]
    monkeypatch.setattr("sys.argv", ["retemper", *SMALL, "--out", str(tmp_path / "out"), *words])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "model.safetensors").exists()
