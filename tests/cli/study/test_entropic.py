import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import attacking


def test_entropic_prints_the_table_and_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "TRIED_STEPS", 2)
    options = ["--data", "digits", "--models", "mlp", "--weights", "0.1", "--base-epochs", "1", "--epochs", "1"]
    options += ["--augmentation", "none", "--seeds", "1", "--images", "10", "--no-autoattack", "--out", str(tmp_path)]
    options += ["--no-pgd", "--threat", "linf:0.1", "--threat", "l2:0.5", "--give-up", "0.3"]
    result = CliRunner().invoke(command.app, ["study", "entropic", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "outcome.json").read_text())
    assert written["verdict"] in result.output
    assert (written["experiment"]["threats"], written["experiment"]["give_up"]) == (["linf:0.1", "l2:0.5"], 0.3)
    assert result.output.count("mlp, entropic, ") == 5
    assert {network["way"] for network in written["networks"]} == {"plain", "entropic"}
