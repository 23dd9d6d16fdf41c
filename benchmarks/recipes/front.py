"""Robust accuracy against cost: which rows no other row beats in both."""

from collections.abc import Sequence

from benchmarks.recipes.measured import Row


def front(rows: Sequence[Row], threat: str) -> set[str]:
    """The rows without an alarm that no other such row beats: at least as robust, no dearer, and better in one.

    Two rows are held against each other by what both faced: AutoAttack counts where it was run on both.
    """
    trusted = [row for row in rows if not row.alarms[threat]]

    def beats(one: Row, other: Row) -> bool:
        first, second = one.official[threat], other.official[threat]
        if first is None or second is None:
            first, second = one.robust[threat], other.robust[threat]
        # Equal shares of several seeds have means that differ by rounding.
        ours, theirs = (round(first.mean, 9), -one.cost), (round(second.mean, 9), -other.cost)
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    return {row.row for row in trusted if not any(beats(other, row) for other in trusted)}
