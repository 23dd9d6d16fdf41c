from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import recipes
from benchmarks.recipes import autoattacked, measured, rows
from benchmarks.recipes.front import front
from benchmarks.recipes.front_plot import plot, spread
from benchmarks.recipes.measured import Row
from benchmarks.recipes.protocols import PROTOCOLS, Protocol
from retemper.data import Split, load
from retemper.evaluation.intervals import wilson
from retemper.files import read_json
from retemper.intervals import Interval
from retemper.objectives import CrossEntropy, LinearisedLoss, recipe
from retemper.report.results import Share
from retemper.studies import attacking
from retemper.studies.ways import Way
from retemper.threats import L2, Linf, Threat
from retemper.training import fresh

TINY = Protocol("tiny", "digits", "small-cnn", (Linf(0.1), L2(0.5)), epochs=3, floor=0.1, seeds=2)


def row(name: str, robust: float, cost: float, *, alarms: tuple[str, ...] = (), official: float | None = None) -> Row:
    def share(mean: float) -> Share:
        return Share(mean, wilson(1000 * mean, 1000), (mean,))

    return Row(
        "tiny",
        name,
        "an objective",
        "a network",
        1,
        share(0.9),
        {"linf:0.1": share(robust)},
        {"linf:0.1": None if official is None else share(official)},
        {"linf:0.1": (0.0, Interval(-0.01, 0.01))},
        {"linf:0.1": alarms},
        cost,
        (cost, cost),
        "",
    )


def test_the_front_is_what_nothing_trusted_beats_in_both() -> None:
    found = [
        row("plain", 0.1, 1.0),
        row("recipe", 0.6, 2.5, official=0.55),
        row("as robust and as dear by what it faced", 0.6, 2.5),
        row("dearer and no better", 0.6, 3.0),
        row("cheaper and better, but it rings", 0.7, 2.0, alarms=("steps",)),
        row("broken by autoattack", 0.6, 2.5, official=0.3),
        row("pgd", 0.8, 11.0),
        row("the same as plain", 0.1, 1.0),
    ]
    assert front(found, "linf:0.1") == {
        "plain",
        "the same as plain",
        "recipe",
        "as robust and as dear by what it faced",
        "pgd",
    }
    drawn = plot(found, "linf:0.1")
    for each in found:
        assert f">{each.row}<" in drawn


def test_the_same_shares_in_another_order_are_no_more_robust() -> None:
    shares = [np.arange(10) < count for count in (3, 2, 1)]
    cheap, dear = (
        replace(row(name, 0.5, cost), robust={"linf:0.1": Share.of(order)})
        for name, cost, order in (("cheap", 1.0, shares), ("dear", 5.0, shares[::-1]))
    )
    assert cheap.robust["linf:0.1"].mean != dear.robust["linf:0.1"].mean
    assert front([cheap, dear], "linf:0.1") == {"cheap"}


@given(st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=29))
def test_names_are_spread_so_that_none_runs_into_another(wanted: list[float]) -> None:
    gap = 0.95 / len(wanted)
    places = spread(sorted(wanted), gap)
    assert all(place + 1e-9 >= 0 and place <= 1 for place in places)
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(places))


def test_names_that_have_room_stay_where_they_are() -> None:
    assert spread([0.1, 0.5, 0.9], 0.2) == [0.1, 0.5, 0.9]


@pytest.mark.parametrize("protocol", [*PROTOCOLS.values(), TINY], ids=lambda protocol: protocol.name)
def test_each_row_says_how_it_is_trained(protocol: Protocol) -> None:
    asked = rows.contest(protocol)
    first, *_ = asked.rivals
    assert first == rows.RECIPE
    candidates = [way for row in asked.rivals.values() for way in row]
    assert len(candidates) == len({way.name for way in candidates})
    assert {way.settings["augmentation"] for way in candidates} == {protocol.augmentation}
    assert not set(asked.once) & {rows.RECIPE, rows.EVERY, rows.OR_JACOBIAN, *rows.ADDED}
    if protocol.rows:
        assert set(asked.rivals) == set(protocol.rows)
    else:
        assert {*rows.OFFICIAL, *rows.ADDED, *rows.RETRAINED, *rows.NOTES} - {*rows.ABLATED, rows.EVERY} <= set(
            asked.rivals
        )
        assert (rows.EVERY in asked.rivals) == (len(protocol.threats) > 1)
        assert ("interval bounds" in asked.rivals) == isinstance(protocol.threats[0], Linf)
    assert [row for row in rows.ABLATED if row in asked.rivals] == (list(rows.ABLATED) if protocol.ablation else [])
    assert (rows.SLOPE in asked.once) == (rows.SLOPE in asked.rivals and not protocol.ablation)


def test_an_ablated_row_differs_from_the_recipe_in_one_choice() -> None:
    protocol = replace(TINY, ablation=True)
    usual, rivals = asdict(recipe(protocol.threats[0])), rows.contest(protocol).rivals
    for row, otherwise in rows.ABLATED.items():
        (way,) = rivals[row]
        assert isinstance(way.objective, LinearisedLoss)
        (changed,) = (item for item in asdict(way.objective).items() if item not in usual.items())
        ((choice, value),) = otherwise.items()
        assert changed == (choice, pytest.approx(value * 0.1 if choice == "step" else value))


def test_every_way_takes_a_step() -> None:
    data = load("digits")
    inputs, labels = data.train.batch(slice(0, 16))
    for candidates in rows.contest(replace(TINY, ablation=True)).rivals.values():
        for way in candidates:
            model = fresh(way.model, data, activation=way.activation, seed=0)
            loss = way.objective(model, inputs, labels)
            loss.backward()
            assert torch.isfinite(loss), way.name


def test_the_pair_loss_takes_the_place_of_cross_entropy_alone() -> None:
    pairs = rows.contest(TINY).rivals["recipe, differential"][0].objective
    assert pairs == replace(recipe(TINY.threats[0]), loss="differential")


def breaks_all_but_the_first(model: torch.nn.Module, split: Split, _threat: Threat) -> SimpleNamespace:
    """In the place of AutoAttack, which takes minutes: it is given what still stands, so nothing answered wrongly."""
    inputs, labels = split.batch(slice(None))
    assert len(split) < 30
    assert (model(inputs).argmax(1) == labels).all()
    return SimpleNamespace(standing=np.arange(len(split)) == 0, package="none", seconds=0.0)


def test_what_is_kept_of_autoattack_never_outlives_our_own_attacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoattacked, "autoattack", lambda _model, split, _threat: SimpleNamespace(
        standing=np.ones(len(split), dtype=bool), package="none", seconds=0.0
    ))  # fmt: skip
    split, written = load("digits").test.take(4), tmp_path / "left.json"

    def left(*standing: bool) -> list[bool]:
        return autoattacked.left(torch.nn.Identity, split, Linf(0.1), np.array(standing), written).tolist()

    assert left(True, True, True, False) == [True, True, True, False]
    assert left(True, False, True, False) == [True, False, True, False]


def test_a_protocol_is_trained_attacked_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {
        rows.RECIPE: [Way("recipe", recipe(Linf(0.1)), "mlp", "silu")],
        rows.PLAIN: [Way("plain", CrossEntropy(), "mlp", base_epochs=1, epochs=2)],
    }
    monkeypatch.setattr(rows, "_rivals", lambda _protocol: few)
    monkeypatch.setattr(rows, "IMAGES", 30)
    monkeypatch.setattr(attacking, "STEPS", 3)
    monkeypatch.setattr(autoattacked, "autoattack", breaks_all_but_the_first)
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    monkeypatch.setitem(PROTOCOLS, "tiny", TINY)
    (half,) = recipes.run(0, 2, only="tiny")
    assert (half.row, half.gains) == (rows.RECIPE, {})
    assert "**" not in recipes.table([half])
    found = recipes.run(only="tiny")
    assert [each.row for each in found] == [rows.RECIPE, rows.PLAIN]
    ours, plain = found
    for threat in ("linf:0.1", "l2:0.5"):
        left = ours.official[threat]
        assert left is not None
        assert left.seeds == (1 / 30, 1 / 30)
        assert 1 / 30 < ours.robust[threat].mean <= ours.clean.mean
        assert len(ours.clean.seeds) == 2
        assert plain.official[threat] is None
        assert (tmp_path / "tiny" / f"front-{threat.replace(':', '-')}.svg").is_file()
    # One epoch of plain training and two of its own, over three.
    kept = read_json(tmp_path / "tiny" / "costs" / "plain.json")
    assert plain.cost == pytest.approx((1 + 2 * kept["value"]) / 3)
    assert recipes.run(only="tiny") == found

    text = recipes.table(found)
    assert f"| recipe | 1 | {100 * ours.clean.mean:.1f} %" in text
    assert repr(recipe(Linf(0.1))) in text
    assert "**" in text
