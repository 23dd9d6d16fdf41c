import numpy as np
import pytest
from rich.console import Console, RenderableType

from retemper.cli.tables import comparison_tables, evaluation_table, finished_line
from retemper.data import load
from retemper.evaluation import Evaluation, Robustness
from retemper.report import Network, Outcome, Results
from retemper.threats import Linf


def shown(table: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return " ".join(captured.get().split())


def compared(results: Results, width: int = 200) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(comparison_tables(results, console))
    return captured.get()


def network(objective: str, seed: int, standing: str, seconds: float) -> Network:
    return Network(objective, seed, "1110", (Outcome("linf:0.1", standing, {"apgd-ce": 1}),), seconds, ())


@pytest.fixture
def results() -> Results:
    return Results(
        settings={"model": "mlp", "seeds": 2, "split": "test"},
        environment={},
        data={"name": "four", "note": "images stored as JPEG"},
        objectives={name: {"formula": "", "summary": "", "retrains": True} for name in ("plain", "pgd")},
        attacks=("apgd-ce (5 steps, 1 restart)",),
        networks=(
            network("plain", 0, "1000", 2.0),
            network("pgd", 0, "1100", 20.0),
            network("plain", 1, "0000", 4.0),
            network("pgd", 1, "1110", 80.0),
        ),
    )


def test_a_comparison_shows_means_over_seeds_and_what_it_cost(results: Results) -> None:
    text = " ".join(compared(results).split())
    assert "75.0 %" in text  # clean
    assert "12.5 %" in text  # plain: one and none of four
    assert "62.5 %" in text  # pgd: two and three of four
    low, high = results.rows()[0].robust["linf:0.1"].interval
    assert f"{100 * low:.1f}-{100 * high:.1f}" in text
    assert "1.00x" in text
    assert "15.00x" in text  # the mean of 10 and 20
    assert "apgd-ce (5 steps, 1 restart) did not break. An attack that fails proves nothing." in text
    assert "images stored as JPEG" in text


def test_a_comparison_without_plain_training_shows_no_ratio(results: Results) -> None:
    only = Results(**{**vars(results), "objectives": {"pgd": {}}, "networks": results.networks[1::2]})
    assert "00x" not in compared(only)


RADII = ("linf:0.05", "linf:0.1", "linf:0.15", "l2:0.5", "l2:1")


@pytest.fixture
def many_radii() -> Results:
    names = ("plain", "differential-bare")
    return Results(
        settings={"model": "mlp", "seeds": 1, "split": "test"},
        environment={},
        data={"name": "digits", "note": ""},
        objectives={name: {} for name in names},
        attacks=("apgd-ce (5 steps, 1 restart)",),
        networks=tuple(
            Network(name, 0, "1" * 25 + "0" * 25, tuple(Outcome(radius, "10" * 25, {}) for radius in RADII), 2.0, ())
            for name in names
        ),
    )


@pytest.mark.parametrize(
    ("width", "tables"),
    [
        (41, [[], ["linf:0.05", "linf:0.1"], ["linf:0.15", "l2:0.5"], ["l2:1"]]),
        (69, [["linf:0.05", "linf:0.1"], ["linf:0.15", "l2:0.5", "l2:1"]]),
        (70, [["linf:0.05", "linf:0.1", "linf:0.15"], ["l2:0.5", "l2:1"]]),
        (200, [list(RADII)]),
    ],
)
def test_radii_that_have_no_room_stand_in_further_tables(
    many_radii: Results, width: int, tables: list[list[str]]
) -> None:
    text = compared(many_radii, width)
    lines = [line.split() for line in text.splitlines()]
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    (first, *further) = tables
    headings = [["objective", "clean", *first, "time"], *[["objective", *radii] for radii in further]]
    assert [line for line in lines if line[:1] == ["objective"]] == headings
    half = ["50.0", "%"]
    for name in ("plain", "differential-bare"):
        rows = [[name, *half, *half * len(first), "1.00x"], *[[name, *half * len(radii)] for radii in further]]
        assert [line for line in lines if line[:1] == [name] and "%" in line] == rows
    assert text.count("36.6-63.4") == 2 * (1 + len(RADII))


def test_figures_are_whole_in_a_console_without_room_for_one_radius(many_radii: Results) -> None:
    text = compared(many_radii, 20)
    assert "…" not in text
    assert "".join(text.split()).count("36.6") == 2 * (1 + len(RADII))


def test_a_finished_network_is_one_line(results: Results) -> None:
    assert str(finished_line(results.networks[1])) == "seed 0  pgd: clean 75.0%, linf:0.1 50.0%"


def test_an_evaluation_shows_which_attack_broke_how_many() -> None:
    standing = np.array([True, False, False, False])
    found = Robustness(Linf(0.1), standing, {"apgd-ce": 2, "apgd-dlr": 0})
    text = shown(
        evaluation_table(Evaluation(~standing, (found,), (), ("apgd-ce (1 step)",), 0), load("digits"), "test")
    )
    assert "25.0 % [" in text
    assert "apgd-ce 2" in text
    assert "apgd-dlr 0" not in text


@pytest.mark.parametrize("draws", [1, 25])
def test_the_evaluation_says_when_answers_are_random_and_which_of_them_counts(draws: int) -> None:
    standing = np.array([True, False])
    found = Robustness(Linf(0.1), standing, {"apgd-ce": 1})
    evaluation = Evaluation(standing, (found,), (), ("apgd-ce (1 step)",), 0, draws=draws)
    text = shown(evaluation_table(evaluation, load("digits"), "test"))
    assert ("the right class is the most frequent of 25 answers" in text) == (draws == 25)
    assert ("at random" in text) == (draws == 25)
