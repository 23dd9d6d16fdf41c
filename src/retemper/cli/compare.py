"""`retemper compare`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def compare(
    data: options.Data = "digits",
    classes: options.Classes = "",
    model: options.Model = "small-cnn",
    activation: options.Activation = "relu",
    objectives: Annotated[
        str,
        typer.Option(
            help="Ways of training, separated by commas, out of plain, entropic, differential, differential-bare, "
            "input-gradient, jacobian, recipe, recipe-or-jacobian, pgd; a weight after a colon, as in `entropic:0.6`."
        ),
        # With spaces, so that its help can be wrapped.
    ] = "plain, entropic, differential, recipe, pgd",
    threat: options.Threats = ["linf:0.1"],  # noqa: B006 - typer copies it
    train_threat: Annotated[
        str | None,
        typer.Option(
            help="What the recipes and `pgd` train against. Default: the largest radius of the first --threat."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of the plain network that retraining starts from.")] = 10,
    retrain_epochs: Annotated[
        int,
        typer.Option(help="Epochs of retraining; plain training gets them too, and methods from scratch get both."),
    ] = 2,
    seeds: Annotated[int, typer.Option(help="How many times each way is trained, with seeds 0, 1, ...")] = 3,
    split: options.Split = "test",
    images: options.Images = 1000,
    attacks: options.Attacks = "apgd-ce,apgd-dlr",
    steps: options.Steps = 100,
    restarts: options.Restarts = 1,
    batch_size: options.BatchSize = 128,
    optimiser: options.Optimiser = "adam",
    learning_rate: options.LearningRate = None,
    weight_decay: options.WeightDecay = 0.0,
    schedule: options.Schedule = "cosine",
    augmentation: options.Augmentation = "none",
    precision: options.Precision = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for results.json, report.html and the networks; a killed run goes on there.")
    ] = Path("runs/compare"),
    progress: options.Progress = True,
) -> None:
    """Train a network in several ways, attack every one alike, and print one table.

    Writes `results.json` (all that it takes to repeat the run) and `report.html` (one page to look at).
    """
    from retemper.cli.tables import comparison_tables, finished_line
    from retemper.cli.terminal import Terminal
    from retemper.comparison import Comparison
    from retemper.comparison import compare as run

    comparison = Comparison(
        data=data,
        classes=options.names(classes),
        model=model,
        activation=activation,
        objectives=options.names(objectives),
        threats=tuple(threat),
        train_threat=train_threat,
        epochs=epochs,
        retrain_epochs=retrain_epochs,
        seeds=seeds,
        split=split,
        images=images,
        attacks=options.names(attacks),
        steps=steps,
        restarts=restarts,
        batch_size=batch_size,
        optimiser=optimiser,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        augmentation=augmentation,
        precision=precision,
    )
    console = Terminal()
    results = run(comparison, out, progress=progress, finished=lambda network: console.print(finished_line(network)))
    console.print(comparison_tables(results, console))
    typer.echo(f"Written: {out / 'report.html'} and {out / 'results.json'}")
