"""Recipes and baselines side by side: the same networks, epochs and search, the same attacks, what each costs.

For each protocol (`digits`, `mnist-linf`, `mnist-l2`, `cifar10`, `cifar10-resnet`) every row's ways are trained from
one seed, validation images choose among them, and the chosen one is attacked on the first 1,000 test images: APGD with
cross-entropy and margin, 100 steps, 2 restarts, with alarms, and, where a row is called robust or held against one that
is, the official AutoAttack on whatever still stands. The recipe, against one threat and against all, and what is added
to it have three seeds, the others one. On the digits each choice in the recipe is also made otherwise, from as many.
Everything is kept under `runs/recipes`, with a plot of robust accuracy against cost; hours on two cores.
"""

from collections.abc import Sequence

from benchmarks.recipes.front import front
from benchmarks.recipes.front_plot import plot
from benchmarks.recipes.measured import FOLDER, Row, measure
from benchmarks.recipes.protocols import PROTOCOLS, in_file_names
from retemper.errors import SettingError
from retemper.files import write_text
from retemper.report.results import Share

__all__ = ["PROTOCOLS", "run", "table"]


def run(part: int = 0, parts: int = 1, only: str | None = None) -> list[Row]:
    """The rows of all protocols, or of one, read back or measured."""
    if only is not None and only not in PROTOCOLS:
        raise SettingError(f"Expected one of {', '.join(PROTOCOLS)}, but got {only!r}.")
    found = []
    for name in PROTOCOLS if only is None else [only]:
        rows = measure(PROTOCOLS[name], part, parts)
        if parts == 1:
            for threat in rows[0].robust:
                written = FOLDER / name / f"front-{in_file_names(threat)}.svg"
                write_text(written, plot(rows, threat))
        found += rows
    return found


def table(found: Sequence[Row]) -> str:
    """A table a protocol, its rows from the most to the least robust at the first threat, by our attacks."""
    return "\n\n".join(
        _table([row for row in found if row.protocol == name]) for name in dict.fromkeys(row.protocol for row in found)
    )


def _table(rows: Sequence[Row]) -> str:
    threats = list(rows[0].robust)
    # Some rows alone, of one part of several, lack the gains; nor do they have a front.
    whole = any(row.gains for row in rows)
    fronts = {threat: front(rows, threat) if whole else set() for threat in threats}
    lines = [f"{rows[0].protocol}: {', '.join(threats)}", ""]
    lines.append(
        f"| | tried | clean | {' | '.join(f'{t} | AutoAttack too | over the recipe' for t in threats)} | time |"
    )
    lines.append(f"|---|---|---|{'---|---|---|' * len(threats)}---|")
    for row in sorted(rows, key=lambda row: -row.robust[threats[0]].mean):
        cells = []
        for threat in threats:
            official, gain = row.official[threat], row.gains.get(threat)
            rings = "".join(f"; alarm: {name}" for name in row.alarms[threat])
            mark = "**" if row.row in fronts[threat] else ""
            cells.append(f"{mark}{_share(row.robust[threat])}{mark}{rings}")
            cells.append("" if official is None else _share(official))
            cells.append("" if gain is None else f"{100 * gain[0]:+.1f} ({_ends(*gain[1])})")
        time = f"{row.cost:.2f} ({row.quartiles[0]:.2f}-{row.quartiles[1]:.2f})"
        lines.append(f"| {row.row} | {row.tried} | {_share(row.clean)} | {' | '.join(cells)} | {time} |")
    lines += [
        "",
        "Bold: on the front of robust accuracy and time." if whole else "Some of the rows.",
        "",
        "Chosen:",
        "",
    ]
    for row in rows:
        note = f" It {row.note}." if row.note else ""
        lines.append(f"- {row.row}: `{row.objective}`, {row.network}.{note}")
    return "\n".join(lines)


def _share(share: Share) -> str:
    each = f" [{' '.join(f'{100 * one:.1f}' for one in share.seeds)}]" if len(share.seeds) > 1 else ""
    low, high = share.interval
    return f"{100 * share.mean:.1f} % ({100 * low:.1f}-{100 * high:.1f}){each}"


def _ends(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"
