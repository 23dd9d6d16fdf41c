import json
from pathlib import Path

from typer.testing import CliRunner

from retemper.cli import app as command


def test_features_prints_a_column_a_network(tmp_path: Path) -> None:
    options = ["--classes", "0,1", "--model", "mlp", "--epochs", "20", "--seeds", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, ["study", "features", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "128 features" in result.output
    assert "seed 1" in result.output
    networks = json.loads((tmp_path / "results.json").read_text())["networks"]
    shares = [network["pairs"][0]["last_layer"] / network["pairs"][0]["svm"] for network in networks]
    for share in shares:
        assert f"{share:.4f}" in result.output
