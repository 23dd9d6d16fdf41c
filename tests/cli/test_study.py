import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.studies import differential, input_gradient, low_rank, many_classes, ways


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


def test_differential_prints_a_table_with_a_verdict_and_writes_outcome_and_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "STEPS", 3)
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


@pytest.mark.parametrize("study", ["input-gradient", "multi-class", "retraining"])
def test_a_contest_prints_the_search_and_a_row_a_rival(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "STEPS", 2)
    monkeypatch.setattr(input_gradient, "ACTIVATIONS", ("relu",))
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
        assert f"{share:.1f} ({share:.1f})" in result.output
    for gain in written["gains"]:
        assert f"{100 * gain['mean']:+.1f}" in result.output


def test_information_prints_a_row_a_way_and_the_correlations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "TRIED_STEPS", 2)
    options = ["--data", "digits", "--classes", "3,8", "--models", "mlp", "--threat", "l2:0.5", "--radii", "0.1,0.5"]
    options += ["--weights", "0.1", "--seeds", "1", "--images", "20", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, ["study", "information", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "results.json").read_text())
    for network in written["networks"]:
        (line,) = [line for line in result.output.splitlines() if line.split()[:1] == [network["way"][4:]]]
        assert line.split()[1:3] == [f"{network['clean']:.1%}", f"{network['robust']['l2:0.5']:.1%}"]
    for one in written["correlations"]:
        assert one["overall"] is None or f"{one['overall']:+.2f}" in result.output


def test_entropic_prints_the_table_and_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "TRIED_STEPS", 2)
    options = ["--data", "digits", "--models", "mlp", "--weights", "0.1", "--base-epochs", "1", "--epochs", "1"]
    options += ["--augmentation", "none", "--seeds", "1", "--images", "10", "--no-autoattack", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, ["study", "entropic", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "outcome.json").read_text())
    assert written["verdict"] in result.output
    assert result.output.count("mlp, entropic, ") == 5


def test_a_threat_in_another_norm_is_one_clear_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["retemper", "study", "differential", "--threat", "linf:0.1"])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert "in L2, such as l2:0.5,1, but got linf:0.1" in capsys.readouterr().err


def test_no_seeds_is_one_clear_message(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["retemper", "study", "low-rank", "--seeds", "0"])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    assert "1 seed or more, but got 0" in capsys.readouterr().err
