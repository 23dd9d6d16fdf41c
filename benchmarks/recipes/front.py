"""Robust accuracy against cost: which rows no other row beats in both."""

from collections.abc import Sequence

from benchmarks.recipes.measured import Row


def front(rows: Sequence[Row], threat: str) -> set[str]:
    """The rows without an alarm that no other such row beats: at least as robust, no dearer, and better in one."""
    trusted = [row for row in rows if not row.alarms[threat]]

    def beats(one: Row, other: Row) -> bool:
        ours, theirs = (one.least(threat).mean, -one.cost), (other.least(threat).mean, -other.cost)
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    return {row.row for row in trusted if not any(beats(other, row) for other in trusted)}
