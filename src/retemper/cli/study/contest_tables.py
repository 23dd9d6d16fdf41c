"""The tables of a contest: the search, and a row a rival."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from retemper.cli.plain_table import plain_table
from retemper.studies.contest import Result

A_LINE = 3  # seeds


def search_table(result: Result) -> Table:
    """What every candidate reached on validation images; the chosen ones are marked."""
    table = plain_table("Tried on validation images; * chosen", "Robust: the mean over the threats.")
    for column in ("way", "clean", "robust"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for trial in result.trials:
        mark = " *" if trial.way in result.chosen.values() else ""
        table.add_row(trial.way + mark, f"{trial.clean:.1%}", f"{trial.robust:.1%}")
    return table


def contest_table(result: Result) -> Table:
    """One row a rival: means over seeds with each seed, the gain over the first rival, and the time of training."""
    contest = result.contest
    table = plain_table(
        f"{len(result.networks[0].clean):,} test images, mean over seeds (each)",
        "Below a share: the gain over the first rival on the same images, with its 95 % interval, and "
        "for how many seeds the interval on their images lies above 0. "
        "Time: seconds of training.",
    )
    for column in ("", "clean", *map(str, contest.threats), "time"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    gains = {(gain.rival, gain.threat): gain for gain in result.gains()}
    for rival in contest.rivals:
        networks = result.of(rival)
        cells = []
        for place, threat in enumerate(contest.threats):
            cell = _seeds([network.standing[place] for network in networks])
            if (gain := gains.get((rival, str(threat)))) is not None:
                low, high = gain.interval
                cell += f"\n{100 * gain.mean:+.1f}\n[{100 * low:+.1f}, {100 * high:+.1f}]"
                if len(gain.each) > 1:
                    above = sum(low > 0 for low, _ in gain.each)
                    cell += f"\nabove 0: {above} of {len(gain.each)}"
            rung = sorted({name for network in networks for name in network.ringing[place]})
            cells.append("\n".join([cell, *(f"alarm: {name}" for name in rung)]))
        time = f"{np.mean([network.seconds for network in networks]):.0f}"
        table.add_row(rival, _seeds([network.clean for network in networks]), *cells, time)
    return table


def _seeds(shares: Sequence[np.ndarray]) -> str:
    each = [f"{100 * float(share.mean()):.1f}" for share in shares]
    mean = f"{100 * float(np.mean([share.mean() for share in shares])):.1f}"
    if len(each) == 1:
        return mean
    # Below the mean and a few to a line, so that the table fits into a terminal of 80 columns.
    lines = [" ".join(each[start : start + A_LINE]) for start in range(0, len(each), A_LINE)]
    return "\n".join([mean, *f"({'|'.join(lines)})".split("|")])
