import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.cli import training
from retemper.data import load as load_data
from retemper.errors import SettingError
from retemper.models import Network, accuracy, load
from retemper.models.storage import read_facts
from retemper.objectives import as_spec, recipe
from retemper.threats import L2, Linf

SMALL = ["train", "--data", "digits", "--classes", "3,8", "--model", "mlp", "--no-progress"]


def small(options: Sequence[str]) -> list[str]:
    """With a fresh network, unless the options name one to go on from."""
    return [word for word in SMALL if "--from" not in options or word not in ("--model", "mlp")]


def test_auto_chooses_the_weight_prints_the_search_and_writes_the_network(tmp_path: Path) -> None:
    plain, out = tmp_path / "plain", tmp_path / "tuned"
    runner = CliRunner()
    first = runner.invoke(command.app, [*SMALL, "--epochs", "2", "--out", str(plain)], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    options = ["--from", str(plain / "model.safetensors"), "--objective", "input-gradient:auto", "--epochs", "3"]
    options += ["--threat", "linf:0.05,0.1", "--give-up", "0.1", "--out", str(out)]
    result = runner.invoke(command.app, [*small(options), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    tuned = json.loads((out / "tuned.json").read_text())
    assert len(tuned["trials"]) == 6
    assert tuned["trials"][1]["weight"] == 0.01
    assert tuned["weight"] > 0
    for trial in tuned["trials"]:
        mark = "* " if trial["weight"] == tuned["weight"] else ""
        weight = f"{trial['weight']:.4g}" if trial["weight"] else "as it was"
        (line,) = [line for line in result.output.splitlines() if line.strip().startswith(f"{mark}{weight} ")]
        assert line.split()[-2:] == [f"{trial['clean']:.1%}", f"{trial['robust']:.1%}"]
    assert read_facts(out / "model.safetensors")["objective"][1]["weight"] == tuned["weight"]


def test_patience_ends_a_training_early_and_keeps_its_best_epoch(tmp_path: Path) -> None:
    options = ["--objective", "input-gradient:0.1", "--epochs", "12", "--patience", "1", "--threat", "linf:0.1,0.2"]
    result = CliRunner().invoke(
        command.app, [*small(options), *options, "--out", str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    history = json.loads((tmp_path / "training.json").read_text())["history"]
    scores = [row["score"] for row in history]
    best = scores.index(max(scores))
    assert len(history) == 12 or len(history) == best + 2
    said = " ".join(result.output.split())
    assert f"for {len(history)} epochs" in said
    score = f"score {scores[best]:.1%}, robust accuracy on validation images at linf:0.1, linf:0.2."
    assert f"Kept epoch {best + 1}: {score}" in said
    assert f"Validation accuracy {history[best]['validation_accuracy']:.1%}" in said


def test_patience_says_where_no_epoch_keeps_within_the_budget(plain: Path, tmp_path: Path) -> None:
    options = ["--from", str(plain), "--objective", "input-gradient:100", "--epochs", "2", "--patience", "3"]
    options += ["--threat", "linf:0.1", "--give-up", "0.01", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, [*small(options), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    history = json.loads((tmp_path / "training.json").read_text())["history"]
    scores = [row["score"] for row in history]
    assert max(scores) < 0
    best = scores.index(max(scores))
    said = " ".join(result.output.split())
    assert f"No epoch kept within --give-up 0.01; kept epoch {best + 1}, the most accurate." in said
    assert "score -" not in said
    assert f"Validation accuracy {history[best]['validation_accuracy']:.1%}" in said


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    result = CliRunner().invoke(command.app, [*SMALL, "--epochs", "3", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out / "model.safetensors"


def test_the_recipe_trains_a_smooth_network_within_a_budget_from_a_plain_one(plain: Path, tmp_path: Path) -> None:
    options = ["--from", str(plain), "--objective", "recipe", "--smooth", "--give-up", "0.5", "--threat", "linf:0.05"]
    words = [*small(options), *options, "--epochs", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"Trained on {recipe(Linf(0.05))!r} for 2 epochs" in " ".join(result.output.split())
    written = json.loads((tmp_path / "training.json").read_text())
    assert written["identity"]["objective"] == repr(recipe(Linf(0.05)))
    assert written["identity"]["give_up"] == 0.5
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again, Network)
    assert again.spec.activation == "silu"
    assert read_facts(tmp_path / "model.safetensors")["objective"] == as_spec(recipe(Linf(0.05)))


def test_a_recipe_of_another_weight_trains_once_and_without_a_budget(tmp_path: Path) -> None:
    options = ["--objective", "recipe:0.5", "--epochs", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, [*small(options), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    identity = json.loads((tmp_path / "training.json").read_text())["identity"]
    assert identity["objective"] == repr(recipe(Linf(0.1), 0.5))
    assert "give_up" not in identity


def test_the_weight_of_the_recipe_can_be_chosen_too(plain: Path, tmp_path: Path) -> None:
    options = ["--from", str(plain), "--objective", "recipe:auto", "--epochs", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, [*small(options), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert [trial["weight"] for trial in json.loads((tmp_path / "tuned.json").read_text())["trials"]][:2] == [0, 1]


def test_the_smooth_network_of_a_factory_is_loaded_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def rectified(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "--model", "my_networks:rectified", "--objective", "recipe", "--smooth", "--epochs", "2"]
    result = CliRunner().invoke(command.app, [*words, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    reached = json.loads((tmp_path / "out" / "training.json").read_text())["history"][-1]["validation_accuracy"]
    data = load_data("digits", classes=("3", "8"))
    again = load(tmp_path / "out" / "model.safetensors", "my_networks:rectified")
    assert [type(layer).__name__ for layer in again.children()][2] == "SiLU"
    assert accuracy(again, data.validation.batches(100)) == reached


@pytest.mark.parametrize("budget", [[], ["--give-up", "1"]])
def test_the_recipe_is_trained_against_every_threat_that_is_named(tmp_path: Path, budget: list[str]) -> None:
    words = [*SMALL, "--objective", "recipe", "--threat", "linf:0.1", "--threat", "l2:0.5", *budget]
    result = CliRunner().invoke(command.app, [*words, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    trained = json.loads((tmp_path / "out" / "training.json").read_text())["identity"]["objective"]
    assert trained == repr(recipe([Linf(0.1), L2(0.5)]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "pgd:auto"], "'pgd' has no weight to choose"),
        (["--objective", "entropy:auto"], "plain, entropic, differential"),
        (["--patience", "0"], "`patience` to be 1 or more, but got 0"),
        (["--patience", "1", "--give-up", "2"], "`give_up` to be a share in [0, 1], but got 2"),
        (["--objective", "pgd", "--patience", "1", "--threat", "linf:0.1,0.2"], "one threat to train against"),
        (["--objective", "pgd", "--threat", "linf:0.1", "--threat", "l2:1"], "but got linf:0.1, l2:1"),
        (["--threat", "linf:0.1,0.2"], "'plain' trains against no threat, but got linf:0.1, linf:0.2; leave out"),
        (["--objective", "entropic", "--threat", "l2:1"], "'entropic' trains against no threat, but got l2:1;"),
        (["--objective", "recipe:0"], "finite number above 0, but got 0.0"),
        (["--objective", "recipe", "--give-up", "-1"], "`give_up` to be a share in [0, 1], but got -1"),
        (["--objective", "recipe:0.5", "--give-up", "0.1"], "--give-up goes with `recipe` (without a weight)"),
        (["--give-up", "0.1"], "but got 'plain'; leave it out"),
        (["--objective", "recipe:auto", "--smooth"], "first train with `--smooth --objective plain`"),
        (["--activation", "tanh", "--smooth"], "Network has none"),
        (["--objective", "entropic:auto", "--tensorboard"], "leave out --tensorboard"),
        (["--objective", "pgd", "--threat", "linf:0.1,0.2"], "one threat to train against, but got linf:0.1, linf:0.2"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_message(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["retemper", *SMALL, *options, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("start", "model", "activation", "words"),
    [
        ("w.safetensors", "mlp", None, "leave out --model"),
        ("w.safetensors", None, "tanh", "'tanh' beside w.safetensors"),
        (None, "own:network", "tanh", "'tanh' beside own:network"),
    ],
)
def test_what_the_network_does_not_take_is_refused(
    start: str | None, model: str | None, activation: str | None, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        training.begun(Path(start) if start else None, model, activation, load_data("digits"), 0)
