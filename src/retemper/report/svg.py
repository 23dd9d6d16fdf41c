"""From a matplotlib figure to SVG that stands in a page: same figure, same text."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS: dict[Any, Any] = {  # matplotlib types each key of its own as a literal
    "svg.hashsalt": "retemper",  # else the identifiers are drawn at random
    "svg.fonttype": "none",  # text stays text: to be searched, copied and read aloud
    "text.parse_math": False,  # names are not formulas, whatever signs they hold
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#767676",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "xtick.color": "#767676",
    "xtick.labelcolor": "#333333",
    "ytick.color": "#767676",
    "ytick.labelcolor": "#333333",
    "ytick.left": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with our settings and nobody else's; those of the process are as they were afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def to_svg(figure: "Figure", name: str) -> str:
    """Write a figure as an `<svg>` element.

    Args:
        figure: drawn inside `drawing`.
        name: put before every identifier, since those of two figures in one page would be the same.
    """
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    # Text between tags has no angle brackets left, so that only attributes are touched.
    return re.sub(r"<[^<>]*>", lambda tag: _renamed(tag[0], name), text[text.index("<svg") :])


def _renamed(tag: str, name: str) -> str:
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)
