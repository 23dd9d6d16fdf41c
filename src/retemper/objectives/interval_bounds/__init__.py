"""Interval bound propagation: the loss at the worst logits that a box of inputs could have, layer by layer."""

from retemper.objectives.interval_bounds.term import IntervalBounds

__all__ = ["IntervalBounds"]
