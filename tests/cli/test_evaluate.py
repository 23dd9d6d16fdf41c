"""`retemper evaluate` end to end: claims, evidence, the page, another network, what was trained with."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from retemper.cli import certifying, evaluating, profiling
from retemper.cli.app import app
from retemper.data import Split
from retemper.errors import CheckpointError, SettingError
from retemper.evaluation.reference import Reference, autoattack
from retemper.models import save
from retemper.threats import Threat

QUICK = ("--budget", "quick", "--no-progress")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    settings = ("--model", "mlp", "--epochs", 4, "--batch-size", 64, "--objective", "input-gradient")
    result = run("train", *settings, "--out", out, "--no-progress")
    assert result.exit_code == 0, result.output
    return out / "model.safetensors"


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("claim", "images", "word", "status"),
    [
        ("0.99@linf:0.3", 60, "refuted", 1),
        ("0.05@linf:0.001", 60, "not refuted", 0),
        ("0.95@linf:0.001", 20, "undecided", 4),
    ],
)
def test_the_verdict_comes_first_and_sets_the_exit_status(
    weights: Path, claim: str, images: int, word: str, status: int
) -> None:
    result = run("evaluate", weights, "--claim", claim, "--images", images, "--no-alarms", *QUICK)
    assert result.exit_code == status
    assert said(result).startswith(f"{word}: ")


def test_a_refutation_is_kept_and_rechecks(weights: Path, tmp_path: Path) -> None:
    out, written, page = tmp_path / "out", tmp_path / "found.json", tmp_path / "page.html"
    command = ("evaluate", weights, "--claim", "0.9@linf:0.3", "--images", 60, "--out", out, "--json", written, *QUICK)
    assert run(*command, "--report", page, "--curve").exit_code == 1
    found = json.loads(written.read_text())
    assert found["verdict"]["verdict"] == "refuted"
    assert found["curves"][0]["closest"]
    assert page.read_text().index("Refuted") < page.read_text().index("What was measured")
    checked = run("verify", out / "refutation.safetensors", "--model", weights, "--data", "digits")
    assert checked.exit_code == 0
    assert "The refutation stands" in said(checked)


def test_the_same_command_reads_back_what_was_kept(weights: Path, tmp_path: Path) -> None:
    command = ("evaluate", weights, "--images", 40, "--batch-size", 16, "--out", tmp_path / "out", *QUICK)
    run(*command, "--json", tmp_path / "first.json")
    kept = sorted((tmp_path / "out").glob("chunk-*"))
    assert len(kept) == 3
    kept[1].unlink()
    run(*command, "--json", tmp_path / "second.json")
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())


def test_attacks_follow_what_the_file_says_it_was_trained_with(weights: Path, tmp_path: Path) -> None:
    command = ("evaluate", weights, "--images", 20, "--no-alarms", "--json", tmp_path / "found.json", *QUICK)
    run(*command)
    assert any("adaptive" in attack for attack in json.loads((tmp_path / "found.json").read_text())["attacks"])
    run(*command, "--no-adaptive")
    assert not any("adaptive" in attack for attack in json.loads((tmp_path / "found.json").read_text())["attacks"])


def test_another_network_is_tried_first(weights: Path, tmp_path: Path) -> None:
    result = run("evaluate", weights, "--surrogate", weights, "--threat", "linf:0.3", "--images", 40, "--no-alarms",
                 "--json", tmp_path / "found.json", *QUICK)  # fmt: skip
    assert result.exit_code == 0
    (robustness,) = json.loads((tmp_path / "found.json").read_text())["robustness"]
    assert robustness["broken_by"]["transfer"] > 20


def test_a_surrogate_of_the_users_own_is_built_by_the_factory_of_what_is_attacked(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine_to_attack.py").write_text(
        "from torch import nn\n\ndef network():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    torch.manual_seed(0)
    save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "own.safetensors")
    command = [
        "evaluate",
        "own.safetensors",
        "--model",
        "mine_to_attack:network",
        "--images",
        20,
        "--no-alarms",
        *QUICK,
    ]
    result = run(*command, "--surrogate", "own.safetensors", "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("found.json").read_text())["attacks"][0].startswith("transfer")
    # A network of ours says what it is: the factory is no word about it.
    result = run(*command, "--surrogate", weights)
    assert result.exit_code == 0, result.output


def test_a_plan_needs_no_network() -> None:
    result = run("evaluate", "--plan", "--claim", "41%@linf:8/255")
    assert result.exit_code == 0
    assert "1,012" in said(result)


def test_it_runs_as_a_module() -> None:
    words = ["evaluate", "--plan", "--claim", "0.41@linf:8/255"]
    done = subprocess.run([sys.executable, "-m", "retemper", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "250" in done.stdout


def test_the_reference_runs_beside_an_attack_that_follows_layers_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyautoattack import AutoAttack

    ordinary = AutoAttack.run_standard_evaluation

    def shorter(self: Any, *arguments: Any, **options: Any) -> Any:
        self.square.n_queries = self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 5
        return ordinary(self, *arguments, **options)

    monkeypatch.setattr(AutoAttack, "run_standard_evaluation", shorter)
    plain, mimic = tmp_path / "plain", tmp_path / "mimic"
    small = ("--model", "mlp", "--epochs", 1, "--no-progress")
    assert run("train", *small, "--out", plain).exit_code == 0
    like = ("--from", plain / "model.safetensors", "--objective", "mimic", "--like", plain / "model.safetensors")
    assert run("train", "--epochs", 1, "--no-progress", *like, "--out", mimic).exit_code == 0
    command = ("evaluate", mimic / "model.safetensors", "--threat", "linf:0.05", "--images", 8, "--no-alarms", *QUICK)
    out = ("--out", tmp_path / "found")
    result = run(*command, *out, "--reference", "autoattack", "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert any("adaptive" in attack for attack in found["attacks"]), found["attacks"]
    assert found["reference"]["forwards"] > 0
    assert run(*command, *out).exit_code == 0, "the same evaluation without the reference is read back"


@pytest.mark.parametrize(
    "command", [("evaluate", "--json"), ("evaluate", "--report"), ("certify", "--out"), ("profile", "--out")]
)
def test_what_cannot_be_written_is_known_before_anything_is_measured(
    command: tuple[str, str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (evaluating, certifying, profiling):
        monkeypatch.setattr(module, "run", lambda *_arguments: pytest.fail("measured"))
    (tmp_path / "file").write_text("mine")
    name, option = command
    with pytest.raises(OSError, match=r"file"):
        run(name, weights, option, tmp_path / "file" / "found")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_evaluation_can_be_begun_anew(weights: Path, tmp_path: Path) -> None:
    command = ("evaluate", weights, "--images", 8, "--no-alarms", "--out", tmp_path, *QUICK)
    assert run(*command).exit_code == 0
    with pytest.raises(CheckpointError, match=r"differs in seed.*--no-resume"):
        run(*command, "--seed", 1)
    assert run(*command, "--seed", 1, "--no-resume").exit_code == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["seed"] == 1


def test_what_the_reference_breaks_counts_against_a_claim(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("evaluate", weights, "--claim", "0.3@linf:0.001", "--images", 60, "--no-alarms", *QUICK)
    assert run(*command).exit_code == 0

    def breaks_all(model: nn.Module, split: Split, threat: Threat, **settings: Any) -> Reference:
        return replace(autoattack(model, split.take(2), threat, version="custom"), standing=np.zeros(60, dtype=bool))

    monkeypatch.setattr(evaluating, "autoattack", breaks_all)
    result = run(*command, "--reference", "autoattack")
    assert result.exit_code == 1
    assert said(result).startswith("refuted: ")


def test_without_autoattack_the_reference_is_refused_before_any_attack(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    monkeypatch.setattr(evaluating, "attack", lambda *_arguments, **_options: pytest.fail("attacked"))
    with pytest.raises(SettingError, match="AutoAttack is not installed"):
        run("evaluate", weights, "--reference", "autoattack", *QUICK)
