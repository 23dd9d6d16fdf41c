"""What settings must hold, whoever has them."""

from numbers import Real
from typing import Any

from retemper.errors import SettingError


def plain(value: Any) -> Any:
    """A number of NumPy's or a tensor of one as Python's own, which files can hold; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def is_number(**numbers: object) -> None:
    """Raise a SettingError for the first value that is no real number, such as text."""
    for name, number in numbers.items():
        if not isinstance(plain(number), Real):
            raise SettingError(f"Expected `{name}` to be a number, but got {number!r}.")


def at_least_one(**numbers: int) -> None:
    """Raise a SettingError for the first number that is not whole, or below one."""
    for name, number in numbers.items():
        if not hasattr(number, "__index__"):
            raise SettingError(f"Expected `{name}` to be a whole number of 1 or more, but got {number!r}.")
        if number < 1:
            raise SettingError(f"Expected `{name}` to be 1 or more, but got {number}.")


def in_0_to_1(**shares: float) -> None:
    """Raise a SettingError for the first share outside [0, 1], NaN among them."""
    is_number(**shares)
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise SettingError(f"Expected `{name}` to be a share in [0, 1], but got {share}.")


def is_a(kind: type, hint: str = "", **values: object) -> None:
    """Raise a SettingError for the first value of another kind, with a hint at what to pass instead."""
    for name, value in values.items():
        if not isinstance(value, kind):
            got = f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__}"
            raise SettingError(f"Expected `{name}` to be of {kind.__name__}, but got {got}{hint and '; ' + hint}.")


def as_seed(seed: int) -> int:
    """A seed as Python's own integer.

    Raises:
        SettingError: some random generator would not take it: they all do from 0 to 2**32 - 1.
    """
    if not isinstance(number := plain(seed), int) or not 0 <= number < 2**32:
        raise SettingError(f"Expected `seed` to be an integer from 0 to 2**32 - 1, but got {seed!r}.")
    return number
