import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import low_rank


def test_low_rank_prints_a_table_and_writes_figures_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = low_rank.run
    monkeypatch.setattr(low_rank, "run", lambda seeds, finished: run(seeds, (0.0, 1.0), (3.0,), finished=finished))
    result = CliRunner().invoke(
        command.app, ["study", "low-rank", "--seeds", "1", "--out", str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "results.json").read_text())
    assert len(written["cells"]) == 2
    assert written["differential_misses"] < 1e-5
    assert (tmp_path / "margins.png").read_bytes().startswith(b"\x89PNG")
    last = written["cells"][-1]
    assert f"{last['cross_entropy'] / last['svm']:.3f}" in result.output
    assert f"({last['limit'] / last['svm']:.3f})" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["margins.png", "results.json"]


def test_no_seeds_is_one_clear_message(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["retemper", "study", "low-rank", "--seeds", "0"])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert "1 seed or more, but got 0" in capsys.readouterr().err
