import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from retemper.cli import app as command
from retemper.cli.study.defaults_tables import defaults_tables, worse_line
from retemper.evaluation import evaluate, paired_difference
from retemper.studies import attacking, defaults
from retemper.studies.cells import AUTO, DEFAULT, PGD, PLAIN, Cell, Network
from retemper.studies.defaults import MODELS, TASKS, Found, Study, Task
from retemper.threats import L2, Linf
from retemper.tuning import tune

THREATS = (Linf(2 / 255), L2(0.25))
IMAGES = 400


def network(way: str, seed: int, stand: int, *rings: str) -> Network:
    places = np.arange(IMAGES)
    standing = dict.fromkeys(THREATS, places < stand)
    weight, steps = (0.0167, None) if way == AUTO else (None, 1234.5)
    ringing = {THREATS[0]: rings, THREATS[1]: ()}
    return Network(way, seed, weight, steps, 20000.0, places < 380, standing, ringing)


def cell(model: str, auto: int) -> Cell:
    of_seeds = [
        network(*one) for seed in range(3) for one in ((PLAIN, seed, 100), (DEFAULT, seed, 200), (AUTO, seed, auto))
    ]
    return Cell("cifar10", model, THREATS, (*of_seeds, network(PGD, 0, 300, "one step beats many")))


def printed(found: Found) -> str:
    console = Console(file=io.StringIO(), width=80)
    for table in defaults_tables(found):
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it was made a StringIO above


def test_the_widest_table_fits_80_columns_uncut() -> None:
    cells = tuple(cell(model, 100) for model in MODELS)
    text = printed(Found(Study(("cifar10",)), cells, (), {"cifar10": "Stored as JPEG."}))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for model in MODELS:
        assert f"\n {model} " in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows.count("plain 95.0 25.0 25.0 1234.5 s") == len(MODELS)
    (place,) = {row: place for place, row in enumerate(rows) if row.startswith("pgd ")}.values()
    assert rows[place] == "pgd +0.0 +50.0 +50.0 1.0x"
    low, high = paired_difference([np.arange(IMAGES) < 300], [np.arange(IMAGES) < 100])[1]
    interval = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    assert rows[place + 1] == f"[-0.5, +0.5] {interval} {interval}"
    assert rows[place + 2 : place + 5] == ["alarm: one", "step beats", "many"]
    assert text.count("alarm: one") == len(MODELS)
    assert text.count("0.0167 0.0167 0.0167") == len(MODELS)
    assert "Stored as JPEG." in " ".join(text.split())


def test_the_last_line_counts_and_names_the_rows_where_auto_is_worse() -> None:
    found = Found(Study(("cifar10",)), (cell("mlp", 100), cell("lenet5", 200)), (), {"cifar10": ""})
    low, high = paired_difference([np.arange(IMAGES) < 100] * 3, [np.arange(IMAGES) < 200] * 3)[1]
    figures = f"(-25.0 [{100 * low:+.1f}, {100 * high:+.1f}], clean +0.0 [-0.5, +0.5])"
    assert worse_line(found) == (
        "auto is worse than the default, with its interval below zero, on 2 of 4 rows: "
        f"mlp on cifar10 at linf:2/255 {figures}, mlp on cifar10 at l2:0.25 {figures}."
    )
    assert worse_line(Found(found.study, found.cells[1:], (), {})).endswith("on 0 of 2 rows.")


def test_the_command_prints_figures_that_it_writes_and_what_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacking, "STEPS", 2)
    monkeypatch.setattr(attacking, "RESTARTS", 1)
    monkeypatch.setattr(defaults, "tune", partial(tune, tries=1, images=10))
    monkeypatch.setattr(attacking, "evaluate", partial(evaluate, alarms=False))  # they take seconds a network
    generator = np.random.default_rng(0)
    arrays = {f"{split}_inputs": generator.random((60, 5)).astype(np.float32) for split in ("train", "test")}
    labels = {name.replace("inputs", "labels"): (array[:, 0] > 0.5).astype(int) for name, array in arrays.items()}
    source = str(tmp_path / "vectors.npz")
    np.savez(source, **arrays, **labels)
    monkeypatch.setitem(TASKS, source, Task((Linf(0.05), L2(0.1)), base_epochs=5, epochs=1))
    options = ["--data", source, "--models", "small-cnn,mlp", "--seeds", "1", "--images", "30", "--out", str(tmp_path)]
    result = CliRunner().invoke(command.app, ["study", "defaults", *options, "--no-progress"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "results.json").read_text())
    (found,) = written["cells"]
    for one in found["differences"]:
        assert f"{100 * one['mean']:+.1f}" in result.output
        assert f"[{100 * one['interval'][0]:+.1f}, {100 * one['interval'][1]:+.1f}]" in result.output
    for cost in found["costs"].values():
        assert f" {cost:.1f}x" in result.output
    assert f"Skipped: {written['skipped'][0]}\n" in result.output
    assert "of 2 rows" in result.output
