"""`retemper study low-rank`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def low_rank(
    seeds: Annotated[int, typer.Option(help="How many sets of points, with seeds 0, 1, ...")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for results.json and margins.png.")] = Path("runs/study-low-rank"),
    progress: options.Progress = True,
) -> None:
    """Show on low-rank points what margin cross-entropy leaves, and that differential training reaches the SVM's.

    Points vary in 3 of 50 dimensions. Swept are a constant offset outside their span and a shift along the direction
    that separates the classes.
    """
    from retemper.cli.study.margin_tables import low_rank_table
    from retemper.cli.terminal import Terminal
    from retemper.files import replacing, write_json
    from retemper.progress import progress_line
    from retemper.report.svg import drawing
    from retemper.studies.low_rank import OFFSETS, SHIFTS, run
    from retemper.studies.low_rank_plot import low_rank_figure

    with progress_line("low-rank sets", seeds * len(OFFSETS) * len(SHIFTS), 0, shown=progress) as after_cell:
        found = run(seeds, finished=lambda _cell: after_cell(1))
    write_json(out / "results.json", found.as_json())
    with drawing(), replacing(out / "margins.png") as path:
        low_rank_figure(found).savefig(path, format="png", dpi=200, facecolor="white")
    console = Terminal()
    console.print(low_rank_table(found))
    typer.echo(f"Written: {out / 'margins.png'} and {out / 'results.json'}")
