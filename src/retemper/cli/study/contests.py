"""`retemper study input-gradient`, `multi-class` and `retraining`: rivals held against each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options

if TYPE_CHECKING:
    from retemper.studies.contest import Contest


def input_gradient(
    data: options.Data = "cifar10",
    classes: options.Classes = "airplane,horse",
    model: study_options.Model = "small-cnn",
    threat: options.Threats = ["l2:0.5,1"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="Of every training.")] = 10,
    seeds: study_options.Seeds = 3,
    images: study_options.Images = 1000,
    out: Annotated[Path, study_options.folder("networks and result.json")] = Path("runs/study-input-gradient"),
    progress: options.Progress = True,
) -> None:
    """Measure what the pair loss adds to an input-gradient penalty, beside ten-step PGD training.

    Cross-entropy and differential training carry the same penalty; activation and weight are chosen for each on
    validation images, among ways of at least 91 % clean accuracy.
    """
    from retemper.studies.input_gradient import contest
    from retemper.threats import parse

    asked = contest(
        data=data,
        classes=options.names(classes),
        model=model,
        threats=[one for text in threat for one in parse(text)],
        epochs=epochs,
        seeds=seeds,
        images=images,
    )
    _hold(asked, out, progress=progress)


def multi_class(
    data: options.Data = "mnist",
    model: study_options.Model = "lenet5",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="Of every training.")] = 5,
    seeds: study_options.Seeds = 3,
    images: study_options.Images = 1000,
    out: Annotated[Path, study_options.folder("networks and result.json")] = Path("runs/study-multi-class"),
    progress: options.Progress = True,
) -> None:
    """Compare differential training of many classes with cross-entropy, at equal length and equally tuned.

    The biases of the differential networks are fitted after training.
    """
    from retemper.studies.many_classes import contest
    from retemper.threats import parse

    threats = [one for text in threat for one in parse(text)]
    asked = contest(data=data, model=model, threats=threats, epochs=epochs, seeds=seeds, images=images)
    _hold(asked, out, progress=progress)


def retraining(
    data: options.Data = "mnist",
    classes: options.Classes = "",
    model: study_options.Model = "lenet5",
    activation: options.Activation = "relu",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    weights: Annotated[
        str, typer.Option(help="Of the entropy term, separated by commas; validation images choose one.")
    ] = "0.6,1.25,2.5",
    measures: Annotated[
        str,
        typer.Option(
            help="Of the term, separated by commas: activation, softmax, unit, renyi, gaussian, effective-rank."
        ),
    ] = "activation",
    layers: Annotated[
        str, typer.Option(help="Of which layers, separated by commas: all, or names and patterns joined by +.")
    ] = "all",
    give_up: Annotated[float, typer.Option(help=study_options.GIVE_UP)] = 0.01,
    optimiser: options.Optimiser = "adam",
    learning_rate: options.LearningRate = None,
    base_epochs: study_options.BaseEpochs = 2,
    epochs: Annotated[int, typer.Option(help="Of each retraining.")] = 2,
    seeds: study_options.Seeds = 5,
    images: study_options.Images = 1000,
    out: Annotated[Path, study_options.folder("networks and result.json")] = Path("runs/study-retraining"),
    progress: options.Progress = True,
) -> None:
    """Hold entropic retraining against plain retraining of equal length, and against PGD retraining.

    Each measure is tried over each of the layers with each weight; the most robust on validation images is taken,
    within a budget of clean accuracy there.
    """
    from retemper.studies.retraining import contest
    from retemper.threats import parse

    asked = contest(
        data=data,
        classes=options.names(classes),
        model=model,
        activation=activation,
        threats=[one for text in threat for one in parse(text)],
        weights=options.numbers(weights),
        measures=options.names(measures),
        layers=options.names(layers),
        optimiser=optimiser,
        learning_rate=learning_rate,
        base_epochs=base_epochs,
        epochs=epochs,
        seeds=seeds,
        images=images,
        give_up=give_up,
    )
    _hold(asked, out, progress=progress)


def _hold(contest: "Contest", out: Path, *, progress: bool) -> None:
    from retemper.cli.study.contest_tables import contest_table, search_table
    from retemper.cli.terminal import Terminal
    from retemper.studies.contest import run

    result = run(contest, out, progress=progress)
    console = Terminal()
    console.print(search_table(result))
    console.print(contest_table(result))
    typer.echo(f"Written: {out / 'result.json'}")
