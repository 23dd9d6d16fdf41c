"""`retemper study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retemper.cli import options

if TYPE_CHECKING:
    from retemper.studies.contest import Contest

study = typer.Typer(
    name="study", help="The papers' claims, each measured by one command.", no_args_is_help=True, rich_markup_mode=None
)


@study.callback()
def _studies() -> None: ...


@study.command("low-rank")
def low_rank(
    seeds: Annotated[int, typer.Option(help="How many sets of points, with seeds 0, 1, ...")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for results.json and margins.png.")] = Path("runs/study-low-rank"),
    progress: options.Progress = True,
) -> None:
    """Show on low-rank points what margin cross-entropy leaves, and that differential training reaches the SVM's.

    Points vary in 3 of 50 dimensions. Swept are a constant offset outside their span and a shift along the direction
    that separates the classes.
    """
    from rich.console import Console

    from retemper.cli.study_tables import low_rank_table
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
    console = Console()
    console.print(low_rank_table(found))
    console.print(f"Written: {out / 'margins.png'} and {out / 'results.json'}")


@study.command()
def differential(
    data: options.Data = "cifar10",
    classes: options.Classes = "airplane,horse",
    model: Annotated[str, typer.Option(help="A network by name.")] = "small-cnn",
    threat: options.Threats = ["l2:0.5,1"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="The usual number.")] = 8,
    long_epochs: Annotated[int, typer.Option(help="So many that no training image is answered wrongly.")] = 40,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 3,
    images: Annotated[int, typer.Option(help="Attacked of each split.")] = 1000,
    out: Annotated[
        Path, typer.Option(help="Folder for networks, outcome.json and plots; a killed run goes on from it.")
    ] = Path("runs/study-differential"),
    progress: options.Progress = True,
) -> None:
    """Repeat the paper's experiment: cross-entropy and differential training of one network on two classes.

    Each has its optimiser chosen on validation images, by the smallest of the L2 radii. Attacked are train and test
    images, after a usual number of epochs and after so many that no training image is answered wrongly.
    """
    from retemper.files import write_text
    from retemper.report.svg import to_svg
    from retemper.studies.broken import Experiment, table
    from retemper.studies.broken_plot import broken_figures
    from retemper.studies.differential import run
    from retemper.threats import parse

    experiment = Experiment(
        data=data,
        classes=options.names(classes),
        model=model,
        threats=tuple(one for text in threat for one in parse(text)),
        epochs=epochs,
        long_epochs=long_epochs,
        seeds=seeds,
        images=images,
    )
    outcome = run(experiment, out, progress=progress)
    for budget, figure in broken_figures(outcome).items():
        write_text(out / f"{budget}.svg", to_svg(figure, budget))
    typer.echo(table(outcome))
    typer.echo(f"\nWritten: {out / 'outcome.json'}, {', '.join(str(out / f'{b}.svg') for b in experiment.budgets)}")


@study.command()
def features(
    data: options.Data = "digits",
    classes: options.Classes = "",
    model: Annotated[str, typer.Option(help="A network by name.")] = "small-cnn",
    epochs: Annotated[int, typer.Option(help="So many that no training image is answered wrongly.")] = 100,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for networks and results.json; a killed run goes on from it.")] = (
        Path("runs/study-features")
    ),
    progress: options.Progress = True,
) -> None:
    """Measure on a plainly trained network's features how far its last layer's margin falls short of the SVM's.

    Beside it stand how the features vary, the margin that cross-entropy would converge to, and what differential
    training of the last layer leaves, for each pair of classes.
    """
    from rich.console import Console

    from retemper.cli.study_tables import features_table
    from retemper.studies.real_features import Study, run

    asked = Study(data=data, classes=options.names(classes), model=model, epochs=epochs, seeds=seeds)
    found = run(asked, out, progress=progress)
    console = Console()
    console.print(features_table(found))
    console.print(f"Written: {out / 'results.json'}")


@study.command("input-gradient")
def input_gradient(
    data: options.Data = "cifar10",
    classes: options.Classes = "airplane,horse",
    model: Annotated[str, typer.Option(help="A network by name.")] = "small-cnn",
    threat: options.Threats = ["l2:0.5,1"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="Of every training.")] = 10,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 3,
    images: Annotated[int, typer.Option(help="Attacked, of validation and test.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder for networks and result.json; a killed run goes on from it.")] = (
        Path("runs/study-input-gradient")
    ),
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


@study.command("multi-class")
def multi_class(
    data: options.Data = "mnist",
    model: Annotated[str, typer.Option(help="A network by name.")] = "lenet5",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="Of every training.")] = 5,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 3,
    images: Annotated[int, typer.Option(help="Attacked, of validation and test.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder for networks and result.json; a killed run goes on from it.")] = (
        Path("runs/study-multi-class")
    ),
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


@study.command()
def retraining(
    data: options.Data = "mnist",
    classes: options.Classes = "",
    model: Annotated[str, typer.Option(help="A network by name.")] = "lenet5",
    activation: options.Activation = "relu",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    weights: Annotated[
        str, typer.Option(help="Of the entropy term, separated by commas; validation images choose one.")
    ] = "0.01,0.02,0.05,0.1,0.2",
    base_epochs: Annotated[int, typer.Option(help="Of plain training from fresh weights.")] = 2,
    epochs: Annotated[int, typer.Option(help="Of each retraining.")] = 1,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 5,
    images: Annotated[int, typer.Option(help="Attacked, of validation and test.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder for networks and result.json; a killed run goes on from it.")] = (
        Path("runs/study-retraining")
    ),
    progress: options.Progress = True,
) -> None:
    """Hold entropic retraining against plain retraining of equal length, and against PGD retraining.

    The weight is the most robust on validation images that costs at most one point of clean accuracy there.
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
        base_epochs=base_epochs,
        epochs=epochs,
        seeds=seeds,
        images=images,
    )
    _hold(asked, out, progress=progress)


@study.command()
def information(
    data: options.Data = "mnist",
    classes: options.Classes = "",
    models: Annotated[str, typer.Option(help="Networks by name, separated by commas.")] = "lenet5,mlp",
    threat: options.Threats = ["linf:0.1", "l2:1.5"],  # noqa: B006 - typer copies it
    radii: Annotated[str, typer.Option(help="Of PGD training, in the norm of the first threat.")] = "0.05,0.1,0.2",
    weights: Annotated[str, typer.Option(help="Of entropic retraining, separated by commas.")] = "0.02,0.05,0.1",
    base_epochs: Annotated[int, typer.Option(help="Of plain training from fresh weights.")] = 2,
    epochs: Annotated[int, typer.Option(help="Of each way from there.")] = 1,
    seeds: Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")] = 2,
    images: Annotated[int, typer.Option(help="Validation images that are attacked.")] = 500,
    out: Annotated[Path, typer.Option(help="Folder for networks and results.json; a killed run goes on from it.")] = (
        Path("runs/study-information")
    ),
    progress: options.Progress = True,
) -> None:
    """Measure what plain, entropic and PGD training make each layer keep, and what of it goes with robustness.

    All on validation images, since defaults are chosen by it.
    """
    from rich.console import Console

    from retemper.cli.study_tables import correlations_table, layers_table
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
    console = Console()
    for model in asked.models:
        console.print(layers_table(found, model))
    console.print(correlations_table(found))
    console.print(f"Written: {out / 'results.json'}")


@study.command()
def entropic(
    data: options.Data = "cifar10",
    models: Annotated[str, typer.Option(help="Networks by name, separated by commas.")] = (
        "entropic-cnn,entropic-cnn-unpadded"
    ),
    weights: Annotated[
        str, typer.Option(help="Of the entropy term, separated by commas; validation images choose one.")
    ] = "0.01,0.02,0.05,0.1",
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


def _hold(contest: "Contest", out: Path, *, progress: bool) -> None:
    from rich.console import Console

    from retemper.cli.study_tables import contest_table, search_table
    from retemper.studies.contest import run

    result = run(contest, out, progress=progress)
    console = Console()
    console.print(search_table(result))
    console.print(contest_table(result))
    console.print(f"Written: {out / 'result.json'}")
