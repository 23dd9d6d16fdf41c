"""The tables of the study of defaults: one a data set, a row a way for each network."""

from collections.abc import Iterator

import numpy as np
from rich.table import Table
from rich.text import Text

from retemper.cli.plain_table import plain_table
from retemper.studies.cells import AUTO, DEFAULT, PGD, PLAIN, Cell, Difference
from retemper.studies.defaults import Found

_WAY, _FIGURE = 18, 14  # columns


def defaults_tables(found: Found) -> Iterator[Table]:
    """What each way answers rightly more than plain retraining does, and what it costs; 80 columns wide."""
    for data, note in found.notes.items():
        cells = [cell for cell in found.cells if cell.data == data]
        if cells:
            yield _table(found, cells, note)


def worse_line(found: Found) -> str:
    """On how many rows the chosen weight stands below the default one, and on which, at what clean accuracy."""
    rows = sum(len(cell.threats) for cell in found.cells)
    worse = [
        f"{cell.model} on {cell.data} at {one.measure} ({_points(one)}, "
        f"clean {_points(cell.difference(AUTO, DEFAULT, None))})"
        for cell in found.cells
        for one in cell.worse()
    ]
    line = f"auto is worse than the default, with its interval below zero, on {len(worse)} of {rows} rows"
    return f"{line}: {', '.join(worse)}." if worse else f"{line}."


def _table(found: Found, cells: list[Cell], note: str) -> Table:
    images, seeds = len(cells[0].networks[0].clean), found.study.seeds
    table = plain_table(
        f"{cells[0].data}: {images} test images, mean over {seeds} seed{'s' if seeds > 1 else ''} (pgd: the first)",
        "Plain: percent. Others: points more than plain on the same images, with 95 % intervals. Below auto: the "
        "weights that it chose. Time: seconds of all steps, and ratios to it; that of auto, whose attacks on "
        "validation images count, is by the clock." + (f" {note}" if note else ""),
    )
    table.add_column("", min_width=_WAY)
    for column in ("clean", *map(str, cells[0].threats)):
        table.add_column(column, justify="right", min_width=_FIGURE, max_width=_FIGURE)
    table.add_column("time", justify="right", no_wrap=True)
    for cell in cells:
        table.add_row(Text(cell.model, style="bold"))
        for row in _rows(cell):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(cell: Cell) -> Iterator[list[str]]:
    measures = (None, *cell.threats)
    plain = cell.of(PLAIN)
    shares = [f"{100 * np.mean([network.right(threat) for network in plain]):.1f}" for threat in measures]
    seconds = np.mean([network.steps for network in plain if network.steps is not None])
    yield [PLAIN, *_with_alarms(cell, PLAIN, shares), f"{seconds:.1f} s"]
    for way in (DEFAULT, AUTO, PGD):
        gains = [_below(cell.difference(way, PLAIN, threat)) for threat in measures]
        weights = " ".join(f"{network.weight:.3g}" for network in cell.of(way) if network.weight is not None)
        yield [f"{way}\n{weights}", *_with_alarms(cell, way, gains), f"{cell.cost(way):.1f}x"]
    yield [f"{AUTO} - {DEFAULT}", *[_below(cell.difference(AUTO, DEFAULT, threat)) for threat in measures], ""]


def _points(difference: Difference) -> str:
    return _below(difference).replace("\n", " ")


def _below(difference: Difference) -> str:
    """With the interval below, so that two threats fit into a terminal of 80 columns."""
    low, high = difference.interval
    return f"{100 * difference.mean:+.1f}\n[{100 * low:+.1f}, {100 * high:+.1f}]"


def _with_alarms(cell: Cell, way: str, figures: list[str]) -> list[str]:
    """The figures of clean accuracy and of each threat, these with the alarms that ring below."""
    clean, *attacked = figures
    rows = [clean]
    for threat, figure in zip(cell.threats, attacked, strict=True):
        names = sorted({name for network in cell.of(way) for name in network.ringing[threat]})
        rows.append("\n".join([figure, *(f"alarm: {name}" for name in names)]))
    return rows
