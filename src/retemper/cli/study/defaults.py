"""`retemper study defaults`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options


def defaults(
    data: Annotated[str, typer.Option(help="Data sets out of these, separated by commas.")] = (
        "digits,mnist,cifar10,breast-cancer"
    ),
    models: study_options.Models = "lenet5,small-cnn,entropic-cnn,mlp",
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ... PGD training has the first alone.")] = 3,
    images: Annotated[int, typer.Option(help="Test images that are attacked: the first so many.")] = 1000,
    out: Annotated[Path, study_options.folder("networks and results.json")] = Path("runs/study-defaults"),
    progress: options.Progress = True,
) -> None:
    """Hold entropic retraining with its defaults, and with `auto`, against plain and PGD retraining, on all data.

    Radii and epochs hang on the data alone. Parts may be run one after another into the same folder; with all of them
    there, the whole table is only read back.
    """
    from retemper.cli.study.defaults_tables import defaults_tables, worse_line
    from retemper.cli.terminal import Terminal
    from retemper.studies.defaults import Study, run

    asked = Study(options.names(data), options.names(models), seeds, images)
    found = run(asked, out, progress=progress)
    console = Terminal()
    for table in defaults_tables(found):
        console.print(table)
    for line in found.skipped:
        typer.echo(f"Skipped: {line}")
    typer.echo(worse_line(found))
    typer.echo(f"Written: {out / 'results.json'}")
