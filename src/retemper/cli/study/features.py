"""`retemper study features`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options


def features(
    data: options.Data = "digits",
    classes: options.Classes = "",
    model: study_options.Model = "small-cnn",
    epochs: Annotated[int, typer.Option(help="So many that no training image is answered wrongly.")] = 100,
    seeds: study_options.Seeds = 3,
    out: Annotated[Path, study_options.folder("networks and results.json")] = Path("runs/study-features"),
    progress: options.Progress = True,
) -> None:
    """Measure on a plainly trained network's features how far its last layer's margin falls short of the SVM's.

    Beside it stand how the features vary, the margin that cross-entropy would converge to, and what differential
    training of the last layer leaves, for each pair of classes.
    """
    from retemper.cli.study.margin_tables import features_table
    from retemper.cli.terminal import Terminal
    from retemper.studies.real_features import Study, run

    asked = Study(data=data, classes=options.names(classes), model=model, epochs=epochs, seeds=seeds)
    found = run(asked, out, progress=progress)
    console = Terminal()
    console.print(features_table(found))
    typer.echo(f"Written: {out / 'results.json'}")
