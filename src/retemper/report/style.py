"""How an objective looks wherever it is shown: its colour, its marker and its line."""

from collections.abc import Iterable
from dataclasses import dataclass

from retemper.report.results import REFERENCE

# Told apart with any kind of colour vision, and 3:1 or more against white: after Okabe & Ito (2008) and
# Tol (2021). What they are compared with is grey.
_REFERENCE_COLOUR = "#595959"
_COLOURS = ("#0072B2", "#D55E00", "#00805D", "#AA4499", "#7A6A00", "#661100")
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
_LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Style:
    """In the words of matplotlib."""

    colour: str
    marker: str
    line: str


def styles(objectives: Iterable[str]) -> dict[str, Style]:
    """One style an objective; no two alike for the first 24."""
    others = [name for name in objectives if name != REFERENCE]
    chosen = {
        name: Style(
            _COLOURS[place % len(_COLOURS)],
            _MARKERS[place % len(_MARKERS)],
            _LINES[place // len(_COLOURS) % len(_LINES)],
        )
        for place, name in enumerate(others)
    }
    return {REFERENCE: Style(_REFERENCE_COLOUR, "o", "--"), **chosen}
