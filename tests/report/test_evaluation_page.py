import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch

from retemper.evaluation import Alarm, Evaluation, Example, judge, parse_claim
from retemper.evaluation.official import Part
from retemper.evaluation.reference import Reference
from retemper.report import wording
from retemper.report.evaluation_page import evaluation_page
from retemper.threats import L2, Linf

Make = Callable[..., Evaluation]
MakeAlarm = Callable[..., Alarm]

ABOUT: dict[str, Any] = {
    "title": "The title",
    "model": "weights.safetensors",
    "data": "digits",
    "note": "",
    "split": "validation",
    "classes": ("zero", "one"),
    "command": "retemper evaluate weights.safetensors",
    "environment": {"torch": "2.13.0", "threads": 1},
}


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time: left out where only words and tables matter."""
    monkeypatch.setattr("retemper.report.evaluation_page.curve_figure", lambda *_: None)
    monkeypatch.setattr("retemper.report.evaluation_page.inlined", lambda figures: dict.fromkeys(figures, ""))


def page(evaluation: Evaluation, **given: Any) -> str:
    return evaluation_page(evaluation, **{"about": ABOUT, **given})


def text(html: str) -> str:
    """What a reader sees, with single blanks."""
    bare = re.sub(r"<style>.*?</style>|<head>.*?</head>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", bare)).replace(wording.SPACE, " ").split())


def section(html: str, name: str) -> str:
    found = re.search(rf'<section[^>]*aria-labelledby="{name}">.*?</section>', html, re.DOTALL)
    assert found is not None
    return text(found[0])


def shown(value: float) -> str:
    return wording.share(value).replace(wording.SPACE, " ")


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize(("claim", "word"), [("99%@linf:0.1", "Refuted"), ("1%@linf:0.1", "Not refuted")])
def test_the_verdict_comes_first_with_its_claim_and_its_evidence(make_evaluation: Make, claim: str, word: str) -> None:
    evaluation = make_evaluation()
    verdict = judge(parse_claim(claim), evaluation.at(Linf(0.1)).standing)
    html = page(evaluation, verdict=verdict)
    assert text(html).startswith(
        f"Evaluation of robust accuracy The title weights.safetensors {word} The claim: at least "
        f"{claim.partition('%')[0]} % of the images are answered rightly, whatever is done to them within L∞ 0.1. "
        f"{verdict.evidence}"
    )
    assert f"<title>{word}: The title</title>" in html
    assert "worst case" not in text(html)
    assert "Diamond: the claim" in section(html, "curves")


@pytest.mark.usefixtures("no_plots")
def test_without_a_claim_the_worst_case_at_every_threat_comes_first(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    html = page(evaluation)
    figures = " ".join(
        f"{wording.threat(found.threat)} {shown(found.accuracy)} 95 % interval {wording.interval(found.interval)}"
        for found in evaluation.robustness
    ).replace(wording.SPACE, " ")
    opening = "Evaluation of robust accuracy The title weights.safetensors What stands in the worst case"
    assert text(html).startswith(f"{opening} {figures}")
    assert "claim" not in text(html)


@pytest.mark.usefixtures("no_plots")
def test_figures_at_which_an_alarm_rings_unanswered_are_not_to_be_trusted(
    make_evaluation: Make, make_alarm: MakeAlarm
) -> None:
    evaluation = make_evaluation()
    first, second, third = evaluation.robustness
    second = replace(second, alarms=(make_alarm(effect=0.9),))
    third = replace(third, alarms=(make_alarm(effect=0.9, answered_by="float64"),))
    html = page(replace(evaluation, robustness=(first, second, third)))
    for place in ("worst", "accuracy"):
        words = section(html, place)
        assert words.count("not to be trusted") == 1
        assert words.index("L∞ 0.1") < words.index("not to be trusted") < words.index("L2 0.5")
    assert "At L∞ 0.1 alarms ring that nothing answered: zero gradients." in text(html)


@pytest.mark.usefixtures("no_plots")
def test_where_no_alarm_rings_unanswered_nothing_is_distrusted(make_evaluation: Make, make_alarm: MakeAlarm) -> None:
    html = page(make_evaluation(alarms=[make_alarm(effect=0.9, answered_by="float64"), make_alarm("quiet")]))
    assert "not to be trusted" not in text(html)
    assert "nothing answered" not in text(html)


@pytest.mark.usefixtures("no_plots")
def test_the_bound_is_named_with_the_attacks_that_failed(make_evaluation: Make, make_alarm: MakeAlarm) -> None:
    bound = "Robust accuracy is an upper bound: what fmn, apgd-ce{} did not break. An attack that fails proves nothing."
    assert bound.format(" and square") in text(page(make_evaluation()))
    answered = page(make_evaluation(alarms=[make_alarm(effect=0.9, answered_by="float64")]))
    assert bound.format(", square and the answers to the alarms") in text(answered)


@pytest.mark.usefixtures("no_plots")
def test_the_table_agrees_with_the_evaluation(make_evaluation: Make) -> None:
    evaluation = make_evaluation(images=40)
    words = section(page(evaluation), "accuracy")
    clean, ends = evaluation.clean_accuracy, evaluation.clean_interval
    assert f"none (clean) {shown(clean)} {wording.interval(ends)} {evaluation.clean.sum()} of 40" in words
    for found in evaluation.robustness:
        threat = wording.threat(found.threat).replace(wording.SPACE, " ")
        row = f"{threat} {shown(found.accuracy)} {wording.interval(found.interval)} {found.standing.sum()} of 40"
        assert f"{row} fmn {found.broken_by['fmn']} apgd-ce 1 " in words + " "
    assert "square" not in words


@pytest.mark.usefixtures("no_plots")
def test_what_was_measured_is_there(make_evaluation: Make) -> None:
    words = section(page(make_evaluation(), about=ABOUT | {"note": "stored as JPEG"}), "measured")
    for fact in (
        "digits: 40 images of the validation split. stored as JPEG",
        "fmn (50 steps) apgd-ce (100 steps, 1 restart) square (5000 queries)",
        "Seed 7",
        "torch 2.13.0, threads 1",
        "retemper evaluate weights.safetensors",
    ):
        assert fact in words
    assert "Draws" not in words
    randomised = section(page(make_evaluation(draws=25)), "measured")
    assert "the most frequent class of 25 draws" in randomised


def test_each_norm_has_its_curve_in_the_order_of_the_threats(make_evaluation: Make) -> None:
    html = page(make_evaluation())
    assert html.count("<svg") == 2
    assert html.index("L∞ radius, from") < html.index("L2 radius, from")
    assert "No minimum-norm attack ran" not in html
    assert "Diamond" not in html
    assert section(page(make_evaluation(closest=False)), "curves").count("No minimum-norm attack ran") == 1


def test_the_claim_is_drawn_on_the_curve_of_its_norm_alone(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    with_claim = page(evaluation, verdict=judge(parse_claim("50%@l2:0.5"), evaluation.at(L2(0.5)).standing))
    plots = [re.findall(r"<svg.*?</svg>", html, re.DOTALL) for html in (page(evaluation), with_claim)]
    assert [before == after for before, after in zip(*plots, strict=True)] == [True, False]


@pytest.mark.usefixtures("no_plots")
def test_ringing_alarms_are_told_in_full_and_quiet_ones_are_folded_in(
    make_evaluation: Make, make_alarm: MakeAlarm
) -> None:
    alarms = [make_alarm("silent one"), make_alarm("answered one", 0.75, "float64"), make_alarm("open one", 0.9)]
    html = page(make_evaluation(alarms=alarms))
    words = section(html, "alarms")
    assert "3 alarms sounded, 2 ring: 1 answered, 1 not." in words
    assert (
        "open one rings, unanswered What open one means. L∞ 0.05, L∞ 0.1 and L2 0.5 What was seen of open one. "
        "Effect 0.9, rings above 0.5 (share of images). unanswered Author 2020"
    ) in words
    assert "answered one rang, answered What answered one means." in words
    assert "Answered by float64." in words
    assert words.index("open one") < words.index("answered one") < words.index("silent one")
    folded = re.search(r"<details>.*?</details>", html, re.DOTALL)
    assert folded is not None
    assert text(folded[0]).startswith("1 alarm that does not ring silent one")
    assert "open one" not in folded[0]


@pytest.mark.usefixtures("no_plots")
def test_an_evaluation_without_alarms_says_so(make_evaluation: Make) -> None:
    html = page(make_evaluation(alarms=[]))
    assert "No alarm was sounded" in section(html, "alarms")
    assert "<details>" not in html


@pytest.mark.usefixtures("no_plots")
def test_adversarial_images_are_shown_with_their_classes_and_vectors_are_not(make_evaluation: Make) -> None:
    def example(*shape: int) -> Example:
        return Example(3, 0, 4, torch.zeros(shape), torch.full(shape, 0.1))

    words = section(page(make_evaluation(examples=[example(1, 4, 4)])), "examples")
    assert words.count("zero taken for 4 validation image 3 L∞ 0.1, L2 0.4") == 3
    assert "magnified 5 times" in words
    assert "Adversarial examples" not in page(make_evaluation(examples=[example(16)]))


@pytest.mark.usefixtures("no_plots")
def test_the_reference_stands_beside_ours(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    ours = evaluation.at(Linf(0.1)).standing
    theirs = ours.copy()
    theirs[np.flatnonzero(ours)[:2]] = False
    theirs[np.flatnonzero(~ours)[:3]] = True
    reference = Reference(
        threat=Linf(0.1),
        version="custom",
        standing=theirs,
        parts=(Part("apgd-ce", "100 steps", 40, 12, 1234, 999, 1.5),),
        left_out={"square": "it cannot"},
        warnings=("beware!",),
        forwards=2345,
        backwards=1000,
        seconds=2.0,
        batch_size=250,
        seed=0,
        package="pyautoattack 0.2.0",
    )
    words = section(page(evaluation, reference=reference), "reference")
    for fact in (
        "AutoAttack custom (pyautoattack 0.2.0) at L∞ 0.1",
        "apgd-ce 100 steps 40 12 28 1,234 999 1.5 s",
        f"AutoAttack, worst case 40 {shown(theirs.mean())} {wording.interval(reference.interval)} 2,345 1,000 2.0 s",
        f"Ours, worst case 40 {shown(ours.mean())}",
        f"{ours.sum() - 2} images against which both failed; ours alone broke 3, AutoAttack alone 2.",
        "Left out: square, since it cannot.",
        "It warns: beware!",
    ):
        assert fact in words
    assert "AutoAttack" not in page(evaluation)
    with pytest.raises(KeyError, match=r"linf:0\.3"):
        page(evaluation, reference=replace(reference, threat=Linf(0.3)))


def test_the_page_asks_for_nothing_else(make_evaluation: Make) -> None:
    example = Example(0, 0, 1, torch.zeros(1, 4, 4), torch.ones(1, 4, 4))
    html = page(make_evaluation(examples=[example]))
    for address in re.findall(r'(\S*)=?"(?:https?:)?//[^"]*"', html):
        assert address in ("xmlns=", "xmlns:xlink=")
    assert not re.search(r"<script|<link|@import|url\((?!#)", html)
    assert all(source.startswith("data:") for source in re.findall(r'<img src="([^"]*)"', html))


def test_the_page_is_well_formed_and_identifiers_are_used_once(make_evaluation: Make, make_alarm: MakeAlarm) -> None:
    evaluation = make_evaluation(alarms=[make_alarm(), make_alarm("open", 0.9)])
    html = page(evaluation, verdict=judge(parse_claim("99%@l2:0.5"), evaluation.at(L2(0.5)).standing))
    assert html.startswith("<!doctype html>")
    _Closed(html)
    identifiers = re.findall(r'\sid="([^"]*)"', html)
    assert len(set(identifiers)) == len(identifiers)
    assert set(re.findall(r'(?:href="#|aria-labelledby=")([^"]*)', html)) <= set(identifiers)


def test_names_are_text_and_never_markup(make_evaluation: Make, make_alarm: MakeAlarm) -> None:
    name = "<b>&\"'"
    alarm = replace(make_alarm(name, 0.9), evidence=name, meaning=name, source=name, unit=name)
    quiet = replace(make_alarm("q" + name), evidence=name, source=name, unit=name)
    example = Example(0, 0, 1, torch.zeros(1, 4, 4), torch.ones(1, 4, 4))
    evaluation = make_evaluation(
        alarms=[alarm, replace(alarm, name="a" + name, answered_by=name), quiet], examples=[example]
    )
    robustness = tuple(replace(found, broken_by={name: 1}) for found in evaluation.robustness)
    evaluation = replace(evaluation, attacks=(name,), robustness=robustness)
    about = dict.fromkeys(("title", "model", "data", "note", "split", "command"), name)
    verdict = replace(judge(parse_claim("99%@l2:0.5"), evaluation.at(L2(0.5)).standing), evidence=name)
    html = page(evaluation, verdict=verdict, about={**about, "classes": (name, name), "environment": {name: name}})
    assert not re.search("<b>(?!\\d)", html)
    assert text(html).count(name) > 20


def test_the_same_evaluation_gives_the_same_bytes(make_evaluation: Make) -> None:
    assert page(make_evaluation()) == page(make_evaluation())


class _Closed(HTMLParser):
    """Fails where a tag is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
