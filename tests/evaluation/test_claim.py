import json
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retemper.errors import SettingError
from retemper.evaluation.claim import EXIT_STATUSES, Claim, Verdict, judge, parse_claim
from retemper.evaluation.intervals import wilson
from retemper.files import write_json
from retemper.threats import L2, Linf


def standing(count: int, images: int) -> np.ndarray:
    return np.arange(images) < count


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("0.41@linf:8/255", Claim(0.41, Linf(8 / 255))),
        ("41%@linf:8/255", Claim(0.41, Linf(8 / 255))),
        (" 41.88 % @ l2:0.5 ", Claim(0.4188, L2(0.5))),
        ("1@l2:0.5", Claim(1.0, L2(0.5))),
        ("100%@l2:0.5", Claim(1.0, L2(0.5))),
    ],
)
def test_a_claim_is_read_as_it_is_meant(text: str, claim: Claim) -> None:
    assert parse_claim(text).threat == claim.threat
    assert parse_claim(text).accuracy == pytest.approx(claim.accuracy, abs=1e-15)
    assert parse_claim(str(claim)) == claim


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.41", "0.41@linf:8/255 or 41%"),
        ("0.41:linf:8/255", "0.41@linf:8/255 or 41%"),
        ("half@linf:8/255", "half@linf:8/255"),
        ("nan@linf:8/255", "nan@linf:8/255"),
        ("@linf:8/255", "0.41@linf"),
        ("41@linf:8/255", "at most 1.*but got 41"),
        ("0@linf:8/255", "above 0.*but got 0"),
        ("-5%@linf:8/255", "but got -0.05"),
        ("140%@linf:8/255", "but got 1.4"),
        ("0.41@linf:2/255,8/255", "one radius in a claim"),
        ("0.41@l7:1", "Expected a threat"),
        ("0.41@", "Expected a threat"),
    ],
)
def test_a_claim_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_claim(text)


CLAIM = Claim(0.41, Linf(0.1))


@pytest.mark.parametrize(
    ("stands", "ringing", "certified", "word"),
    [
        (300, (), None, "refuted"),
        (300, ("zero gradients",), None, "refuted"),
        (300, (), 250, "refuted"),
        (500, (), None, "not refuted"),
        (500, ("zero gradients",), None, "not to be trusted"),
        (500, (), 300, "not refuted"),
        (500, ("zero gradients",), 300, "not to be trusted"),
        (500, (), 480, "proved"),
        (500, ("zero gradients",), 480, "proved"),
        (500, ("zero gradients",), 420, "not to be trusted"),  # the certified interval straddles the claim
        (410, (), None, "undecided"),
        (400, (), None, "undecided"),
        (420, (), None, "undecided"),
        (410, ("zero gradients",), None, "not to be trusted"),
        (0, (), None, "refuted"),
        (1000, (), 1000, "proved"),
    ],
)
def test_the_verdict_is_the_one_defined(
    stands: int, ringing: tuple[str, ...], certified: int | None, word: str
) -> None:
    verdict = judge(
        CLAIM,
        standing(stands, 1000),
        ringing=ringing,
        certified=None if certified is None else standing(certified, 1000),
    )
    assert verdict.word == word
    assert verdict.alarms == ringing
    assert (verdict.accuracy, verdict.interval, verdict.images) == (stands / 1000, wilson(stands, 1000), 1000)
    assert verdict.certified == (None if certified is None else wilson(certified, 1000))


@given(
    st.integers(1, 200).flatmap(
        lambda images: st.tuples(st.just(images), st.integers(0, images), st.integers(0, images))
    ),
    st.floats(0.001, 1),
    st.booleans(),
)
def test_every_verdict_follows_from_its_intervals(counts: tuple[int, int, int], claimed: float, rings: bool) -> None:
    images, one, other = counts
    certified, stands = sorted((one, other))
    verdict = judge(
        Claim(claimed, L2(1)), standing(stands, images), ringing=["a"] * rings, certified=standing(certified, images)
    )
    low, high = wilson(stands, images)
    holds = {
        "refuted": high < claimed,
        "proved": not high < claimed and wilson(certified, images).low >= claimed,
        "not to be trusted": not high < claimed and wilson(certified, images).low < claimed and rings,
        "undecided": not rings and wilson(certified, images).low < claimed and low < claimed <= high,
        "not refuted": not rings and wilson(certified, images).low < claimed and low >= claimed,
    }
    assert [word for word, true in holds.items() if true] == [verdict.word]


def test_more_images_broken_never_take_a_refutation_back() -> None:
    words = [judge(CLAIM, standing(count, 300), ringing=["a"]).word for count in range(301)]
    refuted = [word == "refuted" for word in words]
    assert refuted == sorted(refuted, reverse=True)
    assert 0 < sum(refuted) < 301


def test_a_certified_image_that_fell_contradicts() -> None:
    certified = np.array([True, False, True])
    with pytest.raises(SettingError, match="Image 2 is certified and yet answered wrongly"):
        judge(CLAIM, np.array([True, True, False]), certified=certified)


def test_no_images_or_other_images_give_no_verdict() -> None:
    with pytest.raises(SettingError, match="at least one image"):
        judge(CLAIM, standing(0, 0))
    with pytest.raises(SettingError, match="each of 3 images, got 4"):
        judge(CLAIM, standing(3, 3), certified=standing(1, 4))


def test_the_exit_status_lets_only_what_is_not_refuted_pass() -> None:
    assert {word: status == 0 for word, status in EXIT_STATUSES.items()} == {
        "refuted": False,
        "not to be trusted": False,
        "undecided": False,
        "not refuted": True,
        "proved": True,
    }
    failing = [status for status in EXIT_STATUSES.values() if status]
    assert len(set(failing)) == 3
    assert 2 not in failing, "2 is for a command called wrongly"
    assert judge(CLAIM, standing(30, 100)).exit_status == judge(CLAIM, standing(300, 1000)).exit_status == 1


def all_verdicts() -> list[Verdict]:
    found = {}
    for stands, ringing, certified in product((300, 410, 500), ((), ("zero gradients",)), (None, 0, 480)):
        if certified is None or certified <= stands:
            verdict = judge(
                CLAIM,
                standing(stands, 1000),
                ringing=ringing,
                certified=None if certified is None else standing(certified, 1000),
            )
            found[verdict.word] = verdict
    assert set(found) == set(EXIT_STATUSES)
    return list(found.values())


@pytest.mark.parametrize("verdict", all_verdicts(), ids=lambda verdict: verdict.word)
def test_the_evidence_names_its_figures_and_claims_no_proof_by_an_attack(verdict: Verdict) -> None:
    figures = ["480 of 1,000", "48.0 %"] if verdict.word == "proved" else [f"{100 * verdict.accuracy:.1f} %"]
    for figure in [*figures, "41 %", "linf:0.1", *verdict.alarms * (verdict.word == "not to be trusted")]:
        assert figure in verdict.evidence
    if verdict.word == "not refuted":
        assert "An attack that fails proves nothing" in verdict.evidence
    elif verdict.word != "refuted":
        assert "proof" not in verdict.evidence
        assert "prove" not in verdict.evidence
    assert "robust" not in verdict.evidence


@pytest.mark.parametrize(("stands", "side"), [(400, "are below it"), (410, "are not below it"), (420, "not below")])
def test_an_undecided_verdict_says_on_which_side_these_images_are(stands: int, side: str) -> None:
    assert side in judge(CLAIM, standing(stands, 1000)).evidence


def test_a_verdict_goes_into_json(tmp_path) -> None:  # type: ignore[no-untyped-def]
    verdict = judge(CLAIM, standing(30, 100), ringing=["a"])
    write_json(tmp_path / "verdict.json", verdict.as_json())
    read = json.loads((tmp_path / "verdict.json").read_text())
    assert read["verdict"] == "refuted"
    assert parse_claim(read["claim"]) == CLAIM
    assert read["interval"] == list(wilson(30, 100))
    assert (read["exit_status"], read["images"], read["alarms"], read["certified"]) == (1, 100, ["a"], None)


@given(st.integers(1, 2000).flatmap(lambda images: st.tuples(st.integers(0, images), st.just(images))), st.data())
def test_ends_lie_on_the_side_of_the_claim_that_the_verdict_says(counts: tuple[int, int], data: st.DataObject) -> None:
    found = wilson(*counts)
    near = data.draw(st.sampled_from([found.low, found.high]))
    claimed = min(1.0, max(0.0001, round(near + data.draw(st.floats(-0.001, 0.001)), 4)))
    evidence = judge(Claim(claimed, L2(0.5)), standing(*counts)).evidence
    words = re.search(r"95 % interval ([\d.]+)-([\d.]+) %", evidence)
    assert words is not None
    for shown, end in zip(words.groups(), found, strict=True):
        assert (float(shown) < round(100 * claimed, 9)) == (end < claimed)
        assert float(shown) == pytest.approx(100 * end, abs=0.0501)


def test_an_interval_just_below_a_claim_is_shown_below_it() -> None:
    evidence = judge(parse_claim("41.88%@l2:0.5"), standing(388, 1000)).evidence
    assert "interval 35.8-41.86 %) standing at l2:0.5: the whole interval lies below the claimed 41.88 %" in evidence
