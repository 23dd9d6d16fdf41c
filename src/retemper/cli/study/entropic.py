"""`retemper study entropic`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options


def entropic(
    data: options.Data = "cifar10",
    # With a space, so that its help can be wrapped.
    models: study_options.Models = "entropic-cnn, entropic-cnn-unpadded",
    threat: Annotated[
        list[str] | None,
        typer.Option(
            metavar=options.LIST,
            help="What networks are attacked at, and weights chosen by: `linf:8/255`, `l2:0.5`. May be repeated. "
            "Default: for cifar10 what was reported, chosen by less, for mnist linf:0.1 and l2:1.5.",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Of the entropy term, separated by commas; validation images choose one.")
    ] = "0.6,1.25,2.5,5",
    give_up: Annotated[
        float | None, typer.Option(help=f"{study_options.GIVE_UP} Default: 0.02 for cifar10, otherwise 0.01.")
    ] = None,
    base_epochs: study_options.BaseEpochs = 20,
    epochs: Annotated[int, typer.Option(help="Of each retraining.")] = 5,
    augmentation: options.AugmentationOrNone = None,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ... PGD training has the first alone.")] = 3,
    images: study_options.Images = 1000,
    autoattack: Annotated[
        bool, typer.Option(help="Run the official AutoAttack on the first seed; needs retemper[autoattack].")
    ] = True,
    pgd: Annotated[
        bool, typer.Option(help="Train with PGD too, to compare; it takes longer than all other trainings.")
    ] = True,
    out: Annotated[Path, study_options.folder("networks and outcome.json")] = Path("runs/study-entropic"),
    progress: options.Progress = True,
) -> None:
    """Put the figures to the test that were reported for entropic retraining on CIFAR-10, or do the same elsewhere.

    Plain, entropic and PGD training of each network are attacked by the budget `standard` of `evaluate`, which sounds
    alarms, and in weak ways that might have made a network seem robust; entropic and PGD training by the official
    AutoAttack, too.
    """
    from retemper.studies.entropic import run
    from retemper.studies.experiment import Experiment
    from retemper.studies.reported import table
    from retemper.threats import parse

    experiment = Experiment(
        data=data,
        models=options.names(models),
        weights=options.numbers(weights),
        base_epochs=base_epochs,
        epochs=epochs,
        augmentation=augmentation,
        threats=tuple(one for text in threat or () for one in parse(text)),
        give_up=give_up,
        seeds=seeds,
        images=images,
        autoattack=autoattack,
        adversarial=pgd,
    )
    typer.echo(table(run(experiment, out, progress=progress)))
    typer.echo(f"\nWritten: {out / 'outcome.json'}")
