"""One line that shows how far a long computation is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_line(label: str, total: int, done: int = 0, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar over all steps while the block runs; yields what to call with the number of steps just done."""
    if not shown:
        yield lambda _steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    # On standard error, so that what a command prints can be piped; refreshed seldom, since drawing costs time.
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)
