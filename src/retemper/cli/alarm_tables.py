"""Alarms in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from retemper.evaluation import Robustness
from retemper.report.sounded import sounded, tally


def alarms_table(robustness: Sequence[Robustness]) -> RenderableType:
    """One line that says how many alarms ring; above it those that do, with what was seen and what it means."""
    alarms = sounded(robustness)
    line = Text(tally(alarms), style="bold red" if any(alarm.unanswered for alarm in alarms) else "")
    if not any(alarm.ringing for alarm in alarms):
        return line
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0), pad_edge=False, caption=line, caption_justify="left")
    table.add_column("alarm", max_width=22)
    table.add_column("seen, and what it means", ratio=1)
    table.add_column("answered by", max_width=16)
    for alarm in alarms:
        for seen, threats in alarm.ringing:
            where = ", ".join(map(str, threats))
            table.add_row(
                Text(f"{seen.name}\nat {where}"),
                Text(f"{seen.evidence}\n{seen.meaning}"),
                Text(seen.answered_by) if seen.answered_by else Text("nothing", style="bold red"),
            )
    return table
