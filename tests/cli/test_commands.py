"""Every command end to end, as a person calls it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner, Result

from retemper.cli.app import app
from retemper.data import load
from retemper.models import create, save

runner = CliRunner()


def run(*words: str) -> Result:
    return runner.invoke(app, list(words), catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "plain"
    result = run("train", "--model", "mlp", "--epochs", "5", "--batch-size", "64", "--out", str(out), "--no-progress")
    assert result.exit_code == 0, result.output
    return out


def test_train_says_what_it_did(trained: Path) -> None:
    assert (trained / "model.safetensors").is_file()
    assert (trained / "history.csv").read_text().startswith("epoch,loss,cross-entropy")


def test_retraining_starts_from_the_weights_given(trained: Path, tmp_path: Path) -> None:
    result = run(
        "train", "--from", str(trained / "model.safetensors"), "--objective", "entropic:0.02", "--epochs", "1",
        "--out", str(tmp_path), "--no-progress",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "0.02 * ActivationEntropy" in result.output.replace("\n", " ")
    first = json.loads((trained / "training.json").read_text())["history"]
    second = json.loads((tmp_path / "training.json").read_text())["history"]
    assert second[0]["cross-entropy"] < first[0]["cross-entropy"]


def test_evaluate_prints_and_writes_the_same_figures(trained: Path, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    result = run(
        "evaluate", str(trained / "model.safetensors"), "--threat", "linf:0.05,0.2", "--images", "80", "--attacks",
        "apgd-ce,apgd-dlr", "--steps", "5", "--json", str(written), "--no-progress",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads(written.read_text())
    assert [found["threat"] for found in figures["robustness"]] == ["linf:0.05", "linf:0.2"]
    for found in figures["robustness"]:
        assert f"{100 * found['accuracy']:.1f} %" in result.output
        assert found["accuracy"] == found["standing"].count("1") / 80
    assert "An attack that fails proves nothing" in " ".join(result.output.split())


def test_a_table_is_trained_on_and_evaluated_as_images_are(tmp_path: Path) -> None:
    data = ("--data", "breast-cancer", "--no-progress")
    result = run("train", *data, "--model", "mlp", "--epochs", "10", "--batch-size", "32", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    written = tmp_path / "figures.json"
    result = run(
        "evaluate", str(tmp_path / "model.safetensors"), *data, "--threat", "linf:0.02,0.3", "--attacks", "apgd-ce",
        "--steps", "10", "--json", str(written), "--report", str(tmp_path / "page.html"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads(written.read_text())
    near, far = (found["accuracy"] for found in figures["robustness"])
    assert figures["clean"]["accuracy"] > 0.9
    assert figures["clean"]["accuracy"] > near > 0.5 > far


def test_profile_shows_every_layer(trained: Path) -> None:
    result = run("profile", str(trained / "model.safetensors"), "--images", "50")
    assert result.exit_code == 0, result.output
    assert "dense1_act" in result.output
    assert "dense2_act" in result.output
    chosen = run("profile", str(trained / "model.safetensors"), "--images", "50", "--layers", "dense2*")
    assert "dense1_act" not in chosen.output


def test_compare_prints_a_row_an_objective(tmp_path: Path) -> None:
    result = run(
        "compare", "--model", "mlp", "--objectives", "plain,differential", "--threat", "l2:0.5", "--epochs", "2",
        "--retrain-epochs", "1", "--seeds", "1", "--images", "50", "--steps", "3", "--out", str(tmp_path),
        "--no-progress",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "results.json").read_text())["table"]
    assert [row["objective"] for row in table] == ["plain", "differential"]
    for row in table:
        assert f"{100 * row['clean']['mean']:.1f} %" in result.output
    assert "1.00x" in result.output
    assert (tmp_path / "report.html").is_file()


def every_command() -> list[tuple[str, ...]]:
    """The words of each command, studies among them, and of what only groups commands."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    return list(below(get_command(app), ()))


def test_every_command_is_found() -> None:
    assert {(), ("train",), ("study",), ("study", "entropic")} <= set(every_command())


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_no_help_is_cut_at_80_columns(words: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    # Rich's boxes are as wide as the terminal: they tell that it was one of 80 columns.
    assert max(map(len, result.output.splitlines())) == 80
    assert "…" not in result.output


@pytest.mark.parametrize("command", ["compare", "train", "evaluate", "profile"])
def test_help_explains_every_option(command: str) -> None:
    result = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--data" in result.output


def test_version() -> None:
    assert run("--version").output.startswith("retemper 0.")


class TestRealData:
    """The same path on the data sets that papers use."""

    def test_binary_cifar10(self, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RETEMPER_DATA", str(real_data))
        data = load("cifar10", classes=("airplane", "horse"))
        torch.manual_seed(0)
        save(create("small-cnn", shape=data.shape, classes=2), tmp_path / "untrained.safetensors")
        result = run(
            "evaluate", str(tmp_path / "untrained.safetensors"), "--data", "cifar10", "--classes", "airplane,horse",
            "--threat", "l2:0.5", "--images", "40", "--attacks", "apgd-ce,apgd-dlr", "--steps", "3", "--no-progress",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "apgd-margin" in result.output  # where DLR has too few classes
        assert "JPEG" in result.output

    def test_mnist(self, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RETEMPER_DATA", str(real_data))
        data = load("mnist")
        torch.manual_seed(0)
        save(create("lenet5", shape=data.shape, classes=10), tmp_path / "untrained.safetensors")
        result = run("profile", str(tmp_path / "untrained.safetensors"), "--data", "mnist", "--images", "30")
        assert "conv2_act" in result.output


def test_the_installed_command_runs() -> None:
    command = Path(sys.executable).parent / "retemper"
    printed = subprocess.run([str(command), "--help"], capture_output=True, text=True, check=True)
    assert "compare" in printed.stdout
