import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import attacking


def test_information_prints_a_row_a_way_and_the_correlations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "TRIED_STEPS", 2)
    options = ["--data", "digits", "--classes", "3,8", "--models", "mlp", "--threat", "l2:0.5", "--radii", "0.1,0.5"]
    options += ["--weights", "0.1", "--seeds", "1", "--images", "20", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, ["study", "information", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "results.json").read_text())
    for network in written["networks"]:
        line, *_ = [line for line in result.output.splitlines() if line.split()[:1] == [network["way"][4:]]]
        assert line.split()[1:3] == [f"{network['clean']:.1%}", f"{network['robust']['l2:0.5']:.1%}"]
    # What the largest radius moved in the first layer, from the file.
    first = {network["way"]: network["layers"][0] for network in written["networks"]}
    change = 100 * (first["mlp-pgd-0.5"]["active"] - first["mlp-plain"]["active"])
    lines = [line.split() for line in result.output.splitlines()]
    below = lines[max(place for place, line in enumerate(lines) if line == ["pgd-0.5"]) + 1]
    assert below[0] == "dense1_act"
    assert below[5] == f"{change:+.1f}"
    for one in written["correlations"]:
        assert one["overall"] is None or f"{one['overall']:+.2f}" in result.output
