"""What a comparison shows, in sentences made from its numbers."""

from itertools import groupby
from typing import NamedTuple

from retemper.report.results import REFERENCE, Results, Row
from retemper.report.wording import (
    SPACE,
    count,
    interval,
    listing,
    norm,
    points,
    points_interval,
    radius,
    share,
)
from retemper.threats import Threat


class Finding(NamedTuple):
    """A sentence in two parts: what was found, and the numbers that say so."""

    headline: str
    numbers: str


def compared(results: Results) -> str:
    """One sentence on what was compared."""
    threats = [
        f"{name}{SPACE}{listing([radius(threat) for threat in group])}"
        for name, group in groupby(results.threats(), key=norm)
    ]
    images = count(results.images, f"{results.settings['split']} image")
    return (
        f"The network {results.settings['model']} was trained on {results.data['name']} with "
        f"{count(len(results.objectives), 'objective')} and {count(len(results.seeds), 'seed')} each; "
        f"{images}, the same for all, were attacked within {listing(threats)}."
    )


def findings(results: Results) -> list[Finding]:
    """At the largest radius of each norm, which objective keeps the most images; then what it costs on clean ones."""
    largest: dict[str, Threat] = {}
    for threat in results.threats():
        known = largest.get(threat.norm)
        largest[threat.norm] = threat if known is None or threat.radius > known.radius else known
    rows = results.rows()
    leading = [row for row in rows if any(row in _leaders(rows, str(threat)) for threat in largest.values())]
    clean = [f"{_named(row)} {share(row.clean.mean)}" for row in rows if row in leading or row.objective == REFERENCE]
    found = [_finding(results, rows, threat) for threat in largest.values()]
    return [*found, Finding("Clean accuracy", f": {listing(clean)}.")] if clean else found


def _finding(results: Results, rows: list[Row], threat: Threat) -> Finding:
    where, key = f"Within {norm(threat)}{SPACE}{radius(threat)}", str(threat)
    leaders = _leaders(rows, key)
    if not leaders:
        return Finding(f"{where} no image stands", ", whatever the objective.")
    first, names = leaders[0], listing([_named(row) for row in leaders])
    kept = f"{share(first.robust[key].mean)} ({interval(first.robust[key].interval)})"
    if len(rows) == 1:
        return Finding(f"{where} {names} keeps", f" {kept} of the images.")
    if len(leaders) > 1:
        return Finding(f"{where} {names} keep equally many images", f": {kept}.")
    behind = sorted((row for row in rows if row is not first), key=lambda row: row.robust[key].mean)
    others = [row for row in behind if row.objective == REFERENCE or row is behind[-1]]
    gains = [_gain(results, first, other, key) for other in others]
    return Finding(f"{where} {names} keeps the most images", f": {kept}, {listing(gains)}.")


def _gain(results: Results, row: Row, other: Row, key: str) -> str:
    mean, ends = results.difference(row.objective, other.objective, key)
    verdict = "" if ends.low > 0 else "; zero is inside, so that no difference has been shown"
    return f"{points(mean)} points against {_named(other)} ({points_interval(ends)}{verdict})"


def _leaders(rows: list[Row], key: str) -> list[Row]:
    """The objectives with the highest robust accuracy, several where they are level; none where all is lost."""
    best = max(row.robust[key].mean for row in rows)
    # Means of the same counts in another order of seeds differ by a rounding.
    return [row for row in rows if best > 0 and row.robust[key].mean > best - 1e-9]


def _named(row: Row) -> str:
    return "plain training" if row.objective == REFERENCE else f"‘{row.objective}’"
