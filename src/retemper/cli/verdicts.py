"""Tables for the terminal: the verdict, how many images it needs, the reference, and what a recheck found."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool
from rich.table import Table
from rich.text import Text

from retemper.evaluation.bundle import Bundle
from retemper.evaluation.claim import Claim, Verdict
from retemper.evaluation.intervals import wilson
from retemper.evaluation.planner import Needed
from retemper.evaluation.reference import Reference
from retemper.evaluation.verification import Verification

_STYLES = {
    "refuted": "bold red",
    "not to be trusted": "bold red",
    "undecided": "bold yellow",
    "not refuted": "bold green",
    "proved": "bold green",
}


def verdict_line(verdict: Verdict) -> Text:
    """The verdict's word, what was claimed, and the evidence."""
    claimed = f"{100 * verdict.claim.accuracy:g} % at {verdict.claim.threat}"
    return Text.assemble((verdict.word, _STYLES[verdict.word]), f": {claimed}. {verdict.evidence}")


def plan_table(claim: Claim, needed: Sequence[Needed], power: float) -> Table:
    """One row a gap: how many images each verdict needs."""
    table = Table(
        title=f"Images for a verdict on {100 * claim.accuracy:g} % at {claim.threat}",
        caption=f"With so many images or more the verdict comes out with a probability of {100 * power:g} % or more, "
        "if the attacked accuracy lies that far from the claim; the nearer it lies, the more it takes.",
    )
    table.add_column("attacked accuracy")
    table.add_column("below: refuted", justify="right")
    table.add_column("above: not refuted", justify="right")
    for row in needed:
        table.add_row(f"{100 * row.gap:g} points away", _count(row.refuted), _count(row.not_refuted))
    return table


def reference_table(
    reference: Reference,
    standing: Bool[np.ndarray, " images"],
    broken_by: Mapping[str, int],
    *,
    forwards: int,
    backwards: int,
    seconds: float,
) -> Table:
    """The official AutoAttack beside ours, on the same images: per attack, and in the worst case.

    Args:
        reference: what the official code found.
        standing: for every image, whether ours left it standing.
        broken_by: how many images each of our attacks broke.
        forwards: of ours, in images.
        backwards: of ours, in images.
        seconds: of ours.
    """
    both = int((reference.standing & standing).sum())
    table = Table(
        title=f"AutoAttack {reference.version} ({reference.package}) and ours at {reference.threat}: "
        f"{len(standing)} images",
        caption=f"Images that stand against both: {both}. AutoAttack: batches of {reference.batch_size}, seed "
        f"{reference.seed}, its checks counted in its total."
        + "".join(f" Left out: {name}, since {reason}." for name, reason in reference.left_out.items())
        + "".join(f" It warns: {warning}" for warning in reference.warnings),
    )
    table.add_column("attack")
    for heading in ("broken", "standing", "forward", "backward", "seconds"):
        table.add_column(heading, justify="right")
    for part in reference.parts:
        name = f"{part.name} ({part.settings})"
        work = (f"{part.forwards:,}", f"{part.backwards:,}", f"{part.seconds:.1f}")
        table.add_row(name, str(part.broken), str(part.faced - part.broken), *work)
    table.add_row(
        "AutoAttack", *_totals(reference.standing, reference.forwards, reference.backwards, reference.seconds)
    )
    table.add_section()
    for attack, broken in broken_by.items():
        table.add_row(attack, str(broken))
    table.add_row("ours", *_totals(standing, forwards, backwards, seconds))
    return table


def verification_table(found: Verification, bundle: Bundle) -> Table:
    """What was rechecked, and whether the refutation stands."""
    table = Table(
        title=f"Refutation of {100 * found.claim.accuracy:g} % at {found.claim.threat} on {bundle.data['name']}",
        caption=_recheck(found),
    )
    table.add_column("rechecked")
    table.add_column("found", justify="right")
    low, high = bundle.claim.threat.bounds
    table.add_row(f"bounds of inputs, [{low:g}, {high:g}], are those of the model", _yes(found.same_bounds))
    table.add_row("weights are those that were attacked", _yes(found.same_weights))
    table.add_row("images listed once, labels known to the model", _yes(found.well_formed))
    table.add_row("originals and labels are those of the data", _yes(found.same_data))
    table.add_row("inputs within the threat", f"{found.inside} of {found.listed}")
    table.add_row("and answered wrongly" + _draws(found.draws), f"{found.wrong} of {found.listed}")
    return table


def _recheck(found: Verification) -> str:
    low, high = found.interval
    left = f"{100 * found.accuracy:.1f} % of {found.images} images, 95 % interval {100 * low:.1f}-{100 * high:.1f} %"
    if not found.belongs:
        return "The refutation DOES NOT STAND: it is not one of this model, these bounds or these data."
    if not found.stands:
        return f"The refutation DOES NOT STAND: by what was rechecked as many as {left}, can be robust."
    given = "" if found.same_data else "if its originals and labels are those of the data, "
    return f"The refutation stands: {given}at most {left}, can be robust."


def _totals(
    standing: Bool[np.ndarray, " images"], forwards: int, backwards: int, seconds: float
) -> tuple[str, str, str, str, str]:
    images = len(standing)
    low, high = wilson(int(standing.sum()), images)
    share = f"{100 * standing.mean():.1f} % [{100 * low:.1f}-{100 * high:.1f}]"
    return "", share, f"{forwards:,}", f"{backwards:,}", f"{seconds:.1f}"


def _count(images: int | None) -> str:
    return "no such accuracy" if images is None else f"{images:,}"


def _yes(passed: bool | None) -> str:
    return "not checked (give --data)" if passed is None else "yes" if passed else "NO"


def _draws(draws: int) -> str:
    return f", by the most frequent class of {draws} draws" if draws > 1 else ""
