"""Tables for the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from retemper.cli.plain_table import plain_table
from retemper.data import Data
from retemper.evaluation import Evaluation
from retemper.evaluation.intervals import Interval
from retemper.report import Network, Results, Row, Share

UPPER_BOUND = "Robust accuracy is an upper bound: what {attacks} did not break. An attack that fails proves nothing."


def finished_line(network: Network) -> Text:
    """One line for a network that has just been attacked."""
    images = len(network.clean)
    robust = ", ".join(f"{found.threat} {found.standing.count('1') / images:.1%}" for found in network.outcomes)
    return Text(f"seed {network.seed}  {network.objective}: clean {network.clean.count('1') / images:.1%}, {robust}")


def comparison_tables(results: Results, console: Console) -> Group:
    """Clean and robust accuracy with intervals, and what the training cost.

    As many radii stand side by side as the console has room for, the others in further tables below.
    """
    rows = results.rows()
    first = results.networks[0]
    objectives = ["objective", *[row.objective for row in rows]]
    clean = ["clean", *[_above_interval(row.clean) for row in rows]]
    time = ["time", *[_mean_ratio(row) for row in rows]]
    radii = [
        [outcome.threat, *[_above_interval(row.robust[outcome.threat]) for row in rows]] for outcome in first.outcomes
    ]
    title = (
        f"{results.data['name']}, {results.settings['model']}: "
        f"{len(first.clean)} {results.settings['split']} images, "
        f"mean over {len(results.seeds)} seed{'s' if len(results.seeds) > 1 else ''}, 95 % intervals"
    )
    shown = _fitting([objectives, clean, time], radii, console)
    tables = [_side_by_side([objectives, clean, *radii[:shown], time], title)]
    while radii := radii[shown:]:
        shown = max(1, _fitting([objectives], radii, console))
        tables.append(_side_by_side([objectives, *radii[:shown]]))
    # Not a caption, which would be as narrow as the last table.
    note = UPPER_BOUND.format(attacks=", ".join(results.attacks))
    note += f" Time is that of training, over plain training.{_note(results.data['note'])}"
    return Group(*tables, Text(note, style="table.caption"))


def _side_by_side(columns: Sequence[Sequence[str]], title: str = "") -> Table:
    """Columns of which each begins with its heading."""
    table = plain_table(title)
    for place, (heading, *_cells) in enumerate(columns):
        # Where not even one radius has room, figures go on in the next line instead of being cut.
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for cells in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _fitting(fixed: Sequence[Sequence[str]], radii: Sequence[Sequence[str]], console: Console) -> int:
    """How many of the radii's columns the console has room for, beside the fixed ones."""
    unlimited = console.options.update(max_width=sys.maxsize)
    for count in range(1, len(radii) + 1):
        if console.measure(_side_by_side([*fixed, *radii[:count]]), options=unlimited).maximum > console.width:
            return count - 1
    return len(radii)


def _above_interval(share: Share) -> str:
    # The interval goes below, so that several radii fit into a terminal of 80 columns.
    return f"{100 * share.mean:.1f} %\n{_range(share.interval)}"


def _mean_ratio(row: Row) -> str:
    return f"{sum(row.time_ratio) / len(row.time_ratio):.2f}x" if row.time_ratio else ""


def evaluation_table(evaluation: Evaluation, data: Data, split: str) -> Table:
    """Clean and robust accuracy, and which attack broke how many."""
    table = Table(
        title=f"{data.name}: {len(evaluation.clean)} {split} images, 95 % intervals",
        caption=UPPER_BOUND.format(attacks=", ".join(_names(evaluation.attacks)))
        + _draws(evaluation)
        + _note(data.note),
    )
    table.add_column("threat")
    table.add_column("accuracy", justify="right")
    table.add_column("broken by")
    table.add_row("none", _share(evaluation.clean_accuracy, evaluation.clean_interval), "")
    for found in evaluation.robustness:
        broken = ", ".join(f"{name} {count}" for name, count in found.broken_by.items() if count)
        table.add_row(str(found.threat), _share(found.accuracy, found.interval), broken)
    return table


def _names(attacks: Sequence[str]) -> list[str]:
    """Without their settings, which are in the JSON and the report: a caption has to be read."""
    return [attack.partition(" (")[0] for attack in attacks]


def _draws(evaluation: Evaluation) -> str:
    if evaluation.draws == 1:
        return ""
    return (
        " The model answers at random: an image stands where the right class is the most frequent of "
        f"{evaluation.draws} answers."
    )


def _share(share: float, interval: Interval) -> str:
    return f"{100 * share:.1f} % [{_range(interval)}]"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def _note(note: str) -> str:
    return f" Note: {note}." if note else ""
