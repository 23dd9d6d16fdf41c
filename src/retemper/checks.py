"""What settings must hold, whoever has them."""

from retemper.errors import SettingError


def at_least_one(**numbers: int) -> None:
    """Raise a SettingError for the first number below one."""
    for name, number in numbers.items():
        if number < 1:
            raise SettingError(f"Expected `{name}` to be 1 or more, but got {number}.")
