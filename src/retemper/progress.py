"""One line that shows how far a long computation is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_line(label: str, total: int, done: int = 0, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar over all steps while the block runs; yields what to call with the number of steps just done."""
    from rich.console import Console

    # On standard error, so that what a command prints can be piped; in a log file a moving line is only noise.
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda _steps: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    # Refreshed seldom, since drawing costs time.
    with Progress(*columns, console=console, refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)
