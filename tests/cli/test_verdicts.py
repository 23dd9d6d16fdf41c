import numpy as np
import pytest
from rich.console import Console, RenderableType

from retemper.cli.verdicts import plan_table, reference_table, verdict_line
from retemper.evaluation.claim import judge, parse_claim
from retemper.evaluation.official import Part
from retemper.evaluation.planner import plan_images
from retemper.evaluation.reference import Reference
from retemper.threats import Linf

CLAIM = parse_claim("0.41@linf:8/255")


def shown(what: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(what)
    return " ".join(captured.get().split())


@pytest.mark.parametrize(("stands", "word"), [(300, "refuted"), (410, "undecided"), (500, "not refuted")])
def test_a_verdict_begins_with_its_word_and_gives_its_evidence(stands: int, word: str) -> None:
    verdict = judge(CLAIM, np.arange(1000) < stands)
    text = shown(verdict_line(verdict))
    assert text.startswith(f"{word}: 41 % at linf:8/255. The attacks left {stands} of 1,000")
    assert verdict.evidence in text


def test_a_plan_shows_a_row_a_gap() -> None:
    text = shown(plan_table(CLAIM, plan_images(CLAIM, [0.5, 0.05]), 0.9))
    assert "41 % at linf:8/255" in text
    assert "5 points away │ 1,012 │ 1,040" in text
    assert "50 points away │ no such accuracy" in text
    assert "90 %" in text


def test_the_reference_stands_beside_ours() -> None:
    reference = Reference(
        threat=Linf(0.1),
        version="custom",
        standing=np.array([True, True, False, False]),
        parts=(Part("apgd-ce", "100 steps, 1 restart", 4, 2, 1234, 999, 1.5),),
        left_out={"square": "it cannot"},
        warnings=("beware!",),
        forwards=2345,
        backwards=999,
        seconds=2.0,
        batch_size=250,
        seed=0,
        package="pyautoattack 0.2.0",
    )
    ours = np.array([True, False, False, False])
    text = shown(reference_table(reference, ours, {"apgd-margin": 3}, forwards=77, backwards=66, seconds=0.5))
    for found in (
        "apgd-ce (100 steps, 1 restart) │ 2 │ 2 │ 1,234 │ 999 │ 1.5",
        "AutoAttack │ │ 50.0 % [15.0-85.0] │ 2,345 │ 999 │ 2.0",
        "apgd-margin │ 3 │",
        "ours │ │ 25.0 % [4.6-69.9] │ 77 │ 66 │ 0.5",
        "stand against both: 1.",
        "Left out: square, since it cannot.",
        "It warns: beware!",
        "seed 0",
        "pyautoattack 0.2.0",
    ):
        assert found in text
