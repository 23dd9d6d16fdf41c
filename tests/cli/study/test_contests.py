import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.cli.study.contest_tables import contest_table
from retemper.information import MEASURES
from retemper.objectives import CrossEntropy
from retemper.studies import attacking, input_gradient, many_classes
from retemper.studies.contest import Contest, Network, Result
from retemper.studies.ways import Way
from retemper.threats import L2, Linf


def test_a_gain_says_for_how_many_seeds_it_lies_above_0() -> None:
    stands = {"plain": [False, True, False], "entropic": [True, True, True]}
    networks = tuple(
        Network(rival, seed, 1.0, np.ones(50, bool), (np.full(50, standing),), ((),))
        for rival in stands
        for seed, standing in enumerate(stands[rival])
    )
    ways_of = {rival: [Way(rival, CrossEntropy(), "mlp")] for rival in stands}
    result = Result(Contest("digits", (), ways_of, (L2(0.5),), epochs=1, images=50), {}, (), networks)
    console = Console(width=100, file=io.StringIO())
    with console.capture() as printed:
        console.print(contest_table(result))
    assert "above 0: 2 of 3" in printed.get()


def test_the_title_says_how_many_images_there_were_where_they_are_fewer_than_asked_for() -> None:
    rivals = ("plain", "entropic")
    networks = tuple(Network(rival, 0, 1.0, np.ones(50, bool), (np.ones(50, bool),), ((),)) for rival in rivals)
    ways_of = {rival: [Way(rival, CrossEntropy(), "mlp")] for rival in rivals}
    contest = Contest("digits", (), ways_of, (L2(0.5),), epochs=1, images=1000)
    assert str(contest_table(Result(contest, {}, (), networks)).title).startswith("50 test images")


def test_five_seeds_fit_into_80_columns() -> None:
    clean = iter(range(20, 30))
    networks = tuple(
        Network(rival, seed, 1.0, np.arange(50) < next(clean), (np.arange(50) < 40,) * 2, ((), ()))
        for rival in ("plain", "entropic")
        for seed in range(5)
    )
    ways_of = {rival: [Way(rival, CrossEntropy(), "mlp")] for rival in ("plain", "entropic")}
    contest = Contest("digits", (), ways_of, (Linf(0.1), L2(1.5)), epochs=1, seeds=5, images=50)
    console = Console(width=80, file=io.StringIO())
    with console.capture() as printed:
        console.print(contest_table(Result(contest, {}, (), networks)))
    shown = printed.get()
    assert "…" not in shown
    for word in ("plain", "entropic", "linf:0.1", "l2:1.5", "time", *(f"{2 * share:.1f}" for share in range(20, 30))):
        assert word in shown


@pytest.mark.parametrize("study", ["input-gradient", "multi-class", "retraining"])
def test_a_contest_prints_the_search_and_a_row_a_rival(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacking, "STEPS", 2)
    monkeypatch.setattr(input_gradient, "ACTIVATIONS", ("relu",))
    monkeypatch.setattr(input_gradient, "WEIGHTS", (0.03, 0.1))
    monkeypatch.setattr(many_classes, "OPTIMISERS", (("adam", 1e-3), ("sgd", 0.03)))
    options = ["--data", "digits", "--model", "mlp", "--threat", "l2:0.5", "--epochs", "1", "--seeds", "1"]
    options += ["--images", "20", "--out", str(tmp_path), *(["--classes", "3,8"] if study == "input-gradient" else [])]
    if study == "retraining":
        options += ["--weights", "-0.01,0.1", "--measures", "activation,unit", "--layers", "all", "--give-up", "0.02"]
        options += ["--optimiser", "sgd", "--learning-rate", "0.01"]
    result = CliRunner().invoke(command.app, ["study", study, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "result.json").read_text())
    ways = written["contest"]["rivals"]
    if study == "retraining":
        assert {way["settings"]["optimiser"] for rival in ways.values() for way in rival.values()} == {"sgd"}
    assert written["contest"]["give_up"] == (0.02 if study == "retraining" else None)
    assert len(written["trials"]) == {"input-gradient": 5, "multi-class": 4, "retraining": 6}[study]
    for trial in written["trials"]:
        mark = " *" if trial["way"] in written["chosen"].values() else ""
        assert f"{trial['way']}{mark} " in result.output
    for network in written["networks"]:
        share = 100 * sum(network["standing"]["l2:0.5"]) / 20
        assert f" {share:.1f} " in result.output
    for gain in written["gains"]:
        assert f"{100 * gain['mean']:+.1f}" in result.output


def test_the_help_of_retraining_names_every_measure() -> None:
    shown = CliRunner().invoke(command.app, ["study", "retraining", "--help"]).output
    for measure in MEASURES:
        assert measure in shown
