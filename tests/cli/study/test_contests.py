import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import input_gradient, many_classes, ways


@pytest.mark.parametrize("study", ["input-gradient", "multi-class", "retraining"])
def test_a_contest_prints_the_search_and_a_row_a_rival(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "STEPS", 2)
    monkeypatch.setattr(input_gradient, "ACTIVATIONS", ("relu",))
    monkeypatch.setattr(input_gradient, "WEIGHTS", (0.03, 0.1))
    monkeypatch.setattr(many_classes, "OPTIMISERS", (("adam", 1e-3), ("sgd", 0.03)))
    options = ["--data", "digits", "--model", "mlp", "--threat", "l2:0.5", "--epochs", "1", "--seeds", "1"]
    options += ["--images", "20", "--out", str(tmp_path), *(["--classes", "3,8"] if study == "input-gradient" else [])]
    options += ["--weights", "0.01,0.1"] if study == "retraining" else []
    result = CliRunner().invoke(command.app, ["study", study, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "result.json").read_text())
    assert len(written["trials"]) == {"input-gradient": 5, "multi-class": 4, "retraining": 4}[study]
    for trial in written["trials"]:
        mark = " *" if trial["way"] in written["chosen"].values() else ""
        assert f"{trial['way']}{mark} " in result.output
    for network in written["networks"]:
        share = 100 * sum(network["standing"]["l2:0.5"]) / 20
        assert f" {share:.1f} " in result.output
    for gain in written["gains"]:
        assert f"{100 * gain['mean']:+.1f}" in result.output
