from collections.abc import Sequence

import numpy as np
from rich.console import Console

from retemper.cli.alarm_tables import alarms_table
from retemper.evaluation import Alarm, Robustness
from retemper.threats import L2, Linf


def shown(alarms: Sequence[Alarm], width: int = 200) -> str:
    """What the terminal shows for two threats with the same alarms."""
    robustness = [Robustness(threat, np.array([True]), {}, alarms=tuple(alarms)) for threat in (Linf(8 / 255), L2(0.5))]
    console = Console(width=width)
    with console.capture() as captured:
        console.print(alarms_table(robustness))
    return " ".join(captured.get().split())


def alarm(name: str, effect: float = 0.9, answered_by: str = "") -> Alarm:
    return Alarm(name, effect, 0.5, "share", f"[red]Saw {name}.", f"Means {name}.", "Author 2020", answered_by)


def test_quiet_alarms_take_one_line() -> None:
    assert shown([alarm(str(place), 0.1) for place in range(12)]) == "12 alarms sounded, none rings."


def test_ringing_alarms_say_where_what_was_seen_what_it_means_and_what_answered_them() -> None:
    text = shown([alarm("quiet", 0.1), alarm("calmed", answered_by="float64"), alarm("open")])
    assert "open [red]Saw open. nothing at linf:8/255, l2:0.5 Means open." in text
    assert "calmed [red]Saw calmed. float64 at linf:8/255, l2:0.5 Means calmed." in text
    assert "quiet" not in text
    assert text.index("open") < text.index("calmed")
    assert text.endswith("3 alarms sounded, 2 ring: 1 answered, 1 not.")


def test_without_alarms_it_says_that_none_was_sounded() -> None:
    assert shown([]).startswith("No alarm was sounded")


def test_every_word_is_there_in_a_narrow_terminal() -> None:
    text = shown([alarm("detached or non-differentiable parts", answered_by="straight-through gradients")], width=80)
    assert "…" not in text
    assert {"non-differentiable", "straight-through", "linf:8/255,"} <= set(text.split())
