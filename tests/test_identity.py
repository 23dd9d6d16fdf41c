from typing import Any

import pytest

from retemper.identity import differences


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"seed": 0}, {"seed": 0}, []),
        ({"seed": 0, "data": "a" * 64}, {"seed": 1, "data": "b" * 64}, ["seed (was 0, is 1)", "data"]),
        ({"threats": [["linf:0.1", [0, 1]]]}, {"threats": [("linf:0.1", (0, 1))]}, []),
        ({"a": {"x": 1, "y": 2, "z": 0}}, {"a": {"x": 2, "y": 2}}, ["a (x was 1, is 2, z was 0, is null)"]),
        ({"a": {"x": "long" * 20}}, {"a": {"x": "other" * 20}}, ["a (x)"]),
        ({"a": 1}, {"a": 1, "b": None}, []),
        ({"a": [1], "b": "0123456789abcdef"}, {"a": [2], "b": "fedcba9876543210"}, ["a", "b"]),
        ({"a": 1, "b": 2}, {"a": 1}, ["b"]),
        (None, {"a": 1}, ["a"]),
        (["no", "object"], {"a": 1}, ["a"]),
    ],
)
def test_what_differs_is_named_with_values_that_tell_something(before: Any, now: Any, expected: list[str]) -> None:
    assert differences(before, now) == expected
