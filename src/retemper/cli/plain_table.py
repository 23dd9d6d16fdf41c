"""The look that tables in the terminal share."""

from rich import box
from rich.table import Table


def plain_table(title: str, caption: str | None = None) -> Table:
    """Without a frame, so that it fits into a terminal of 80 columns."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, caption=caption)
