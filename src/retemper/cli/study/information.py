"""`retemper study information`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options


def information(
    data: options.Data = "mnist",
    classes: options.Classes = "",
    models: study_options.Models = "lenet5,mlp",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    radii: Annotated[str, typer.Option(help="Of PGD training, in the first norm: 0.1 or 2/255.")] = "0.05,0.1,0.2",
    weights: Annotated[str, typer.Option(help="Of entropic retraining, separated by commas.")] = "0.6,1.25,2.5",
    base_epochs: study_options.BaseEpochs = 2,
    epochs: Annotated[int, typer.Option(help="Of each way from there.")] = 1,
    seeds: study_options.Seeds = 2,
    images: Annotated[int, typer.Option(help="Validation images that are attacked.")] = 500,
    out: Annotated[Path, study_options.folder("networks and results.json")] = Path("runs/study-information"),
    progress: options.Progress = True,
) -> None:
    """Measure what plain, entropic and PGD training make each layer keep, and what of it goes with robustness.

    All on validation images, since defaults are chosen by it.
    """
    from retemper.cli.study.information_tables import changes_table, correlations_table, layers_table
    from retemper.cli.terminal import Terminal
    from retemper.studies.information import Study, run
    from retemper.threats import parse

    asked = Study(
        data=data,
        classes=options.names(classes),
        models=options.names(models),
        threats=tuple(one for text in threat for one in parse(text)),
        radii=options.numbers(radii),
        weights=options.numbers(weights),
        base_epochs=base_epochs,
        epochs=epochs,
        seeds=seeds,
        images=images,
    )
    found = run(asked, out, progress=progress)
    console = Terminal()
    for model in asked.models:
        console.print(layers_table(found, model))
        console.print(changes_table(found, model))
    console.print(correlations_table(found))
    typer.echo(f"Written: {out / 'results.json'}")
