import pytest
import torch

from retemper.evaluation.alarms import Alarm
from retemper.evaluation.alarms.alarm import share


@pytest.mark.parametrize(("effect", "rings"), [(0.1, False), (0.2, False), (0.21, True)])
def test_an_alarm_rings_above_its_threshold_alone(effect: float, rings: bool) -> None:
    assert Alarm("name", effect, 0.2, "share", "evidence", "meaning", "source").rings is rings


def test_shares_are_counted() -> None:
    assert share(torch.tensor([True, False, True])) == "2 of 3 images"
