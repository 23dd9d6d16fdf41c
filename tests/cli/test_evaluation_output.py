import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from retemper.cli.evaluating import Asked, Found
from retemper.cli.evaluation_output import print_plan, show, write
from retemper.data import Data, Split
from retemper.evaluation import Evaluation, Robustness, parse_claim
from retemper.evaluation.reference import Reference
from retemper.threats import Linf

THREAT = Linf(0.1)
CLAIM = parse_claim("0.9@linf:0.1")
STANDING = np.arange(50) < 10
EVALUATION = Evaluation(np.ones(50, bool), (Robustness(THREAT, STANDING, {"fgsm": 40}),), (), ("fgsm (1 step)",), 0)
SPLIT = Split(torch.rand(2, 1, 3, 3), torch.tensor([0, 1]))
ASKED = Asked(
    weights="net.safetensors", factory=None, data="tiny", classes=(), threats=(THREAT,), split="test", images=50,
    budget="quick", attacks=(), steps=None, restarts=None, surrogate=None, adaptive=True, curve=False, alarms=False,
    reference="", seed=0, out=None, resume=True, batch_size=50, progress=False,
)  # fmt: skip
FOUND = Found(ASKED, Data("tiny", SPLIT, SPLIT, SPLIT, ("0", "1")), EVALUATION, None, None, (7, 5), 1.0, None)
REFUTED = replace(FOUND, verdict=EVALUATION.verdict(CLAIM))
REFERENCE = Reference(THREAT, "standard", STANDING, (), {}, (), 321, 0, 2.0, 50, 0, "pyautoattack 0.2.0")


def shown(found: Found) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        show(console, found)
    return " ".join(captured.get().split())


def test_a_refutation_comes_first_and_says_how_it_is_rechecked_or_kept() -> None:
    text = shown(REFUTED)
    assert text.startswith("refuted: 90 % at linf:0.1.")
    assert text.endswith("With --out, every adversarial input is kept for anyone to recheck with `retemper verify`.")
    kept = shown(replace(REFUTED, bundle=Path("out/refutation.safetensors")))
    assert kept.endswith("retemper verify out/refutation.safetensors --model net.safetensors --data tiny")
    by_autoattack = shown(replace(REFUTED, asked=replace(ASKED, out=Path("out"))))
    assert by_autoattack.endswith("broke enough images to refute it; its inputs are not kept for a recheck.")
    assert "retemper verify" not in shown(replace(FOUND, verdict=EVALUATION.verdict("0.1@linf:0.1")))


def test_alarms_and_the_reference_are_shown_where_they_were_asked_for() -> None:
    assert shown(FOUND).startswith("tiny: 50 test images")
    for absent in ("alarm", "AutoAttack"):
        assert absent not in shown(FOUND)
    assert "No alarm was sounded" in shown(replace(FOUND, asked=replace(ASKED, alarms=True)))
    assert "321" in shown(replace(FOUND, reference=REFERENCE))


def test_what_was_not_asked_for_is_null_in_the_figures_and_nothing_else_is_written(tmp_path: Path) -> None:
    write(FOUND, json=tmp_path / "found.json", report=None, command="")
    read = json.loads((tmp_path / "found.json").read_text())
    assert (read["verdict"], read["reference"], read["weights"]) == (None, None, "net.safetensors")
    assert (read["data"]["name"], read["data"]["split"]) == ("tiny", "test")
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
    write(replace(REFUTED, reference=REFERENCE), json=tmp_path / "found.json", report=None, command="")
    read = json.loads((tmp_path / "found.json").read_text())
    assert read["verdict"]["verdict"] == "refuted"
    assert read["reference"]["forwards"] == 321


def test_a_plan_is_printed_for_the_claim() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        print_plan(console, CLAIM)
    assert "90 % at linf:0.1" in captured.get()


def test_the_recheck_is_a_command_that_a_shell_takes(capsys: pytest.CaptureFixture[str]) -> None:
    asked = replace(
        ASKED, weights="my [red]weights.safetensors", factory="own:network", data="my data", classes=("a b", "c")
    )
    show(Console(width=40), replace(REFUTED, asked=asked, bundle=Path("a folder/out[/v1]/refutation.safetensors")))
    command = capsys.readouterr().out.rpartition("recheck: ")[2].rstrip("\n")
    assert shlex.split(command) == [
        "retemper", "verify", "a folder/out[/v1]/refutation.safetensors",
        "--model", "my [red]weights.safetensors", "--data", "my data", "--factory", "own:network", "--classes", "a b,c",
    ]  # fmt: skip
