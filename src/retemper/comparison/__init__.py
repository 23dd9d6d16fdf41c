"""Ways of training side by side: trained from the same start, attacked alike, in one table and one report."""

from retemper.comparison.run import compare
from retemper.comparison.settings import Comparison

__all__ = ["Comparison", "compare"]
