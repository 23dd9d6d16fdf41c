"""`retemper study entropic`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def entropic(
    data: options.Data = "cifar10",
    models: Annotated[str, typer.Option(help="Networks by name, separated by commas.")] = (
        "entropic-cnn,entropic-cnn-unpadded"
    ),
    weights: Annotated[
        str, typer.Option(help="Of the entropy term, separated by commas; validation images choose one.")
    ] = "0.6,1.25,2.5,5",
    base_epochs: Annotated[int, typer.Option(help="Of plain training from fresh weights.")] = 20,
    epochs: Annotated[int, typer.Option(help="Of each retraining.")] = 5,
    augmentation: options.Augmentation = "crop-and-flip",
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ... PGD training has the first alone.")] = 3,
    images: Annotated[int, typer.Option(help="Attacked, of validation and test.")] = 1000,
    autoattack: Annotated[
        bool, typer.Option(help="Run the official AutoAttack on the first seed; needs retemper[autoattack].")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder for networks and outcome.json; a killed run goes on from it.")] = (
        Path("runs/study-entropic")
    ),
    progress: options.Progress = True,
) -> None:
    """Put the figures to the test that were reported for entropic retraining on CIFAR-10.

    Plain, entropic and PGD training of the paper's network are attacked at the reported radii by everything that
    `evaluate` has, by the official AutoAttack, and in weak ways that might have made a network seem robust.
    """
    from retemper.studies.entropic import run
    from retemper.studies.reported import Experiment, table

    experiment = Experiment(
        data=data,
        models=options.names(models),
        weights=options.numbers(weights),
        base_epochs=base_epochs,
        epochs=epochs,
        augmentation=augmentation,
        seeds=seeds,
        images=images,
        autoattack=autoattack,
    )
    typer.echo(table(run(experiment, out, progress=progress)))
    typer.echo(f"\nWritten: {out / 'outcome.json'}")
