"""What makes a kept run another one than the one that is asked for, in words."""

import json
import re
from collections.abc import Mapping
from typing import Any

REPLACE = "or pass resume=False (--no-resume, where a command has it)"
START = "start"  # the name of the hash of the weights that a run began with
OTHER_START = (
    "began with other weights than the model has now. Pass the model as it was then, built or loaded anew, to go on "
    "from there, choose another folder,"
)
_SHORT = 40  # characters that a reader takes in
_HASH = re.compile("[0-9a-f]{16,}")


def differences(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Each name whose value has changed, with both values where they tell a reader something; in settings, too.

    Args:
        before: as it was read back from JSON; whatever a file may hold.
        now: what is to be the same.

    >>> differences({"seed": 0, "settings": {"epochs": 60}}, {"seed": 1, "settings": {"epochs": 3}})
    ['seed (was 0, is 1)', 'settings (epochs was 60, is 3)']
    """
    before, now = before if isinstance(before, dict) else {}, json.loads(json.dumps(now))
    return [_said(name, before, now) for name in {**before, **now} if before.get(name) != now.get(name)]


def _said(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name not in before or name not in now:
        return name
    old, new = before[name], now[name]
    if isinstance(old, dict) and isinstance(new, dict):
        inner = [_change(key, old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"{name} ({', '.join(inner)})"
    change = _change(name, old, new)
    return name if change == name else f"{name} ({change.removeprefix(f'{name} ')})"


def _change(name: str, old: Any, new: Any) -> str:
    return f"{name} was {json.dumps(old)}, is {json.dumps(new)}" if _tells(old) and _tells(new) else name


def _tells(value: Any) -> bool:
    return not isinstance(value, dict | list | str) or (
        isinstance(value, str) and len(value) <= _SHORT and not _HASH.fullmatch(value)
    )
