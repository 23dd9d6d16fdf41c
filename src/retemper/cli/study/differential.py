"""`retemper study differential`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.study import study_options


def differential(
    data: options.Data = "cifar10",
    classes: options.Classes = "airplane,horse",
    model: study_options.Model = "small-cnn",
    threat: options.Threats = ["l2:0.5,1"],  # noqa: B006 - typer copies it
    epochs: Annotated[int, typer.Option(help="The usual number.")] = 8,
    long_epochs: Annotated[
        int, typer.Option(help="So many that next to none of the training is answered wrongly.")
    ] = 40,
    seeds: study_options.Seeds = 3,
    images: Annotated[int, typer.Option(help="Attacked of each split.")] = 1000,
    out: Annotated[Path, study_options.folder("networks, outcome.json and plots")] = Path("runs/study-differential"),
    progress: options.Progress = True,
) -> None:
    """Repeat the paper's experiment: cross-entropy and differential training of one network on two classes.

    Each has its optimiser chosen on validation images, by the smallest of the L2 radii. Attacked are train and test
    images, after a usual number of epochs and after so many that next to no training image is answered
    wrongly.
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
