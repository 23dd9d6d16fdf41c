import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import attacking, differential


def test_differential_prints_a_table_with_a_verdict_and_writes_outcome_and_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacking, "STEPS", 3)
    monkeypatch.setattr(differential, "OPTIMISERS", (("adam", 1e-3),))
    small = {
        "data": "digits",
        "classes": "3,8",
        "model": "mlp",
        "epochs": 1,
        "long-epochs": 2,
        "seeds": 1,
        "images": 20,
    }
    options = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(
        command.app, ["study", "differential", *options, "--out", str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "cross-entropy: cross-entropy-adam-0.001" in result.output
    assert result.output.count("the share that breaks") == 4
    assert len(json.loads((tmp_path / "outcome.json").read_text())["networks"]) == 4
    for budget in ("usual", "long"):
        assert "differential, test" in (tmp_path / f"{budget}.svg").read_text()


def test_a_threat_in_another_norm_is_one_clear_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["retemper", "study", "differential", "--threat", "linf:0.1"])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert "in L2, such as l2:0.5,1, but got linf:0.1" in capsys.readouterr().err
