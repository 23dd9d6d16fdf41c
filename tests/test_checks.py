import re

import pytest

from retemper.checks import at_least_one
from retemper.errors import SettingError


def test_one_and_more_pass() -> None:
    at_least_one(steps=1, restarts=20)
    at_least_one()


@pytest.mark.parametrize(("numbers", "name", "number"), [((0, 5), "steps", 0), ((1, -3), "restarts", -3)])
def test_what_is_below_one_is_named(numbers: tuple[int, int], name: str, number: int) -> None:
    steps, restarts = numbers
    with pytest.raises(SettingError, match=re.escape(f"`{name}` to be 1 or more, but got {number}.")):
        at_least_one(steps=steps, restarts=restarts)


def test_of_several_the_first_is_named() -> None:
    with pytest.raises(SettingError, match="`steps`"):
        at_least_one(steps=0, restarts=0)
