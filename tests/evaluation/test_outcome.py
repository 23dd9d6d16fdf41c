import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retemper.evaluation import Alarm, Curve, Evaluation, Robustness, wilson
from retemper.evaluation.outcome import bits
from retemper.threats import L2, Linf


def alarm(name: str, effect: float, answered_by: str = "") -> Alarm:
    return Alarm(name, effect, 0.1, "share of images", "seen", "meaning", "source", answered_by)


STANDING = np.array([False, True, True, False])
FOUND = Robustness(
    Linf(0.1), STANDING, {"apgd": 1}, (), (alarm("quiet", 0.1), alarm("loud", 0.2), alarm("answered", 0.9, "float64"))
)
CURVE = Curve("linf", (0.0, 1.0), np.array([0.0, np.inf, np.inf, 0.05]), 0.1, False, torch.zeros(4, 2))
EVALUATION = Evaluation(
    np.array([False, True, True, True]),
    (FOUND, Robustness(L2(0.5), ~STANDING, {})),
    (CURVE,),
    ("apgd (1 step)",),
    3,
    25,
)


def test_shares_are_those_of_the_images() -> None:
    assert EVALUATION.clean_accuracy == 0.75
    assert EVALUATION.clean_interval == wilson(3, 4)
    assert FOUND.accuracy == 0.5
    assert FOUND.interval == wilson(2, 4)


def test_only_alarms_that_exceed_their_threshold_and_have_no_answer_are_left_ringing() -> None:
    assert FOUND.ringing == ("loud",)
    assert EVALUATION.at(L2(0.5)).ringing == ()


def test_a_threat_is_found_by_norm_radius_and_bounds() -> None:
    assert EVALUATION.at(Linf(0.1)) is FOUND
    for other in (Linf(0.2), L2(0.1), Linf(0.1, (0.0, 2.0))):
        with pytest.raises(KeyError, match=rf"{re.escape(other.in_full)} is none of linf:0\.1, l2:0\.5"):
            EVALUATION.at(other)


def test_json_holds_every_figure_and_bit() -> None:
    read = json.loads(json.dumps(EVALUATION.as_json(), allow_nan=False))
    assert read["clean"] == {"accuracy": 0.75, "interval": list(wilson(3, 4)), "standing": "0111"}
    first = read["robustness"][0]
    assert (first["threat"], first["bounds"], first["broken_by"], first["standing"]) == (
        "linf:0.1", [0.0, 1.0], {"apgd": 1}, "0110",
    )  # fmt: skip
    assert [(entry["name"], entry["rings"], entry["answered_by"]) for entry in first["alarms"]] == [
        ("quiet", False, ""),
        ("loud", True, ""),
        ("answered", True, "float64"),
    ]
    assert read["curves"][0]["distances"] == [0.0, None, None, 0.05]
    assert (read["attacks"], read["seed"], read["draws"]) == (["apgd (1 step)"], 3, 25)


@given(st.lists(st.booleans()))
def test_bits_are_one_where_an_image_stands(standing: list[bool]) -> None:
    assert [bit == "1" for bit in bits(np.array(standing, dtype=bool))] == standing
