from collections.abc import Callable
from dataclasses import replace

import pytest

from retemper.evaluation import Alarm, Evaluation
from retemper.report.sounded import sounded, tally
from retemper.threats import L2, Linf

Make = Callable[..., Evaluation]


def test_unanswered_alarms_come_first_then_answered_then_quiet_ones(
    make_evaluation: Make, make_alarm: Callable[..., Alarm]
) -> None:
    alarms = [make_alarm("quiet"), make_alarm("answered", 0.9, "more steps"), make_alarm("open", 0.9)]
    found = sounded(make_evaluation(alarms=alarms).robustness)
    assert [alarm.name for alarm in found] == ["open", "answered", "quiet"]
    assert [alarm.unanswered for alarm in found] == [True, False, False]
    assert [len(alarm.ringing) for alarm in found] == [1, 1, 0]


def test_threats_at_which_the_same_was_seen_stand_together(
    make_evaluation: Make, make_alarm: Callable[..., Alarm]
) -> None:
    alarm = make_alarm("open", 0.9)
    first, second, third = make_evaluation(alarms=[alarm]).robustness
    (found,) = sounded([first, replace(second, alarms=(replace(alarm, effect=0.8),)), third])
    assert [(seen.effect, threats) for seen, threats in found.at] == [
        (0.9, (Linf(0.05), L2(0.5))),
        (0.8, (Linf(0.1),)),
    ]


@pytest.mark.parametrize(
    ("effects", "answers", "sentence"),
    [
        ([], [], "No alarm was sounded: nothing says whether attacks failed for reasons other than robustness."),
        ([0.1], [""], "1 alarm sounded, none rings."),
        ([0.1, 0.2], ["", ""], "2 alarms sounded, none rings."),
        ([0.1, 0.9], ["", ""], "2 alarms sounded, 1 rings: none answered."),
        ([0.9, 0.9], ["x", "x"], "2 alarms sounded, 2 ring: all answered."),
        ([0.9, 0.9, 0.9, 0], ["x", "", "x", ""], "4 alarms sounded, 3 ring: 2 answered, 1 not."),
    ],
)
def test_the_tally_counts_alarms_by_name(
    make_evaluation: Make, make_alarm: Callable[..., Alarm], effects: list[float], answers: list[str], sentence: str
) -> None:
    alarms = [
        make_alarm(str(place), effect, answer)
        for place, (effect, answer) in enumerate(zip(effects, answers, strict=True))
    ]
    assert tally(sounded(make_evaluation(alarms=alarms).robustness)) == sentence


def test_an_alarm_that_is_answered_at_one_threat_alone_is_told_of(
    make_evaluation: Make, make_alarm: Callable[..., Alarm]
) -> None:
    alarm = make_alarm("open", 0.9)
    first, second, third = make_evaluation(alarms=[alarm]).robustness
    second = replace(second, alarms=(replace(alarm, answered_by="more restarts"),))
    assert tally(sounded([first, second])) == "1 alarm sounded, 1 rings: 1 answered at some threats alone."
    third = replace(third, alarms=(alarm, make_alarm("other", 0.9)))
    assert tally(sounded([first, second, third])).endswith("2 ring: 1 answered at some threats alone, 1 not.")
