from collections.abc import Callable
from dataclasses import replace

import pytest

from retemper.report.findings import compared, findings
from retemper.report.results import Network, Outcome, Results

Make = Callable[..., Results]


def _results(make: Make, **standing: dict[str, int]) -> Results:
    """One network an objective, of 100 images, all right as they are; `standing` by threat."""
    networks = tuple(
        Network(
            name,
            0,
            "1" * 90 + "0" * 10,
            tuple(Outcome(threat, "1" * kept + "0" * (100 - kept), {}) for threat, kept in kept_at.items()),
            1.0,
            (),
        )
        for name, kept_at in standing.items()
    )
    return replace(make(objectives=tuple(standing)), networks=networks)


def _texts(results: Results) -> list[str]:
    return ["".join(finding).replace("\xa0", " ") for finding in findings(results)]


def test_the_largest_radius_of_each_norm_counts(make_results: Make) -> None:
    results = _results(
        make_results,
        plain={"linf:0.2": 10, "linf:0.1": 80, "l2:0.5": 50},
        pgd={"linf:0.2": 40, "linf:0.1": 70, "l2:0.5": 30},
    )
    assert _texts(results) == [
        "Within L∞ 0.2 ‘pgd’ keeps the most images: 40.0 % (30.9–49.8), +30.0 points against plain training "
        "(+20.2 to +38.6).",
        "Within L2 0.5 plain training keeps the most images: 50.0 % (40.4–59.6), +20.0 points against ‘pgd’ "
        "(+11.5 to +27.7).",
        "Clean accuracy: plain training 90.0 % and ‘pgd’ 90.0 %.",
    ]


def test_the_best_is_held_against_plain_training_and_the_next(make_results: Make) -> None:
    results = _results(make_results, plain={"l2:1": 40}, a={"l2:1": 69}, b={"l2:1": 70}, c={"l2:1": 50})
    text = _texts(results)[0]
    assert "+30.0 points against plain training (+20.2 to +38.6) and +1.0 points against ‘a’ (" in text
    assert text.endswith("; zero is inside, so that no difference has been shown).")
    assert "‘c’" not in text


def test_objectives_that_are_level_are_all_named(make_results: Make) -> None:
    results = _results(make_results, plain={"l2:1": 3}, a={"l2:1": 7}, b={"l2:1": 7})
    assert _texts(results)[0] == "Within L2 1 ‘a’ and ‘b’ keep equally many images: 7.0 % (3.4–13.7)."


def test_no_objective_is_named_where_nothing_stands(make_results: Make) -> None:
    results = _results(make_results, plain={"l2:1": 0}, a={"l2:1": 0})
    assert _texts(results)[0] == "Within L2 1 no image stands, whatever the objective."


def test_without_plain_training_it_is_not_spoken_of(make_results: Make) -> None:
    found, clean = _texts(_results(make_results, a={"l2:1": 5}, b={"l2:1": 6}))
    assert found.startswith("Within L2 1 ‘b’ keeps the most images: 6.0 % (2.8–12.5), +1.0 points against ‘a’ (")
    assert clean == "Clean accuracy: ‘b’ 90.0 %."


@pytest.mark.parametrize(("name", "shown"), [("plain", "plain training"), ("a", "‘a’")])
def test_one_objective_alone_is_not_the_best_of_anything(make_results: Make, name: str, shown: str) -> None:
    results = _results(make_results, **{name: {"l2:1": 5}})
    assert _texts(results)[0] == f"Within L2 1 {shown} keeps 5.0 % (2.2–11.2) of the images."


def test_the_first_sentence_says_what_was_compared(make_results: Make) -> None:
    text = compared(make_results(seeds=(0,))).replace("\xa0", " ")
    assert text == (
        "The network small-cnn was trained on digits with 3 objectives and 1 seed each; 20 test images, the same "
        "for all, were attacked within L∞ 0.05 and 0.1 and L2 0.5."
    )


def test_what_was_attacked_is_called_by_its_split(make_results: Make) -> None:
    results = make_results(seeds=(0,))
    results.settings["split"] = "validation"
    assert "20 validation images" in compared(results).replace("\xa0", " ")
