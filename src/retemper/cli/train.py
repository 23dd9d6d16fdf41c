"""`retemper train`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def train(
    out: Annotated[Path, typer.Option(help="Folder for model.safetensors, history.csv and checkpoints.")],
    data: options.Data = "digits",
    classes: options.Classes = "",
    model: options.ModelOrNone = None,
    activation: options.ActivationOrNone = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Retrain the network with these weights (safetensors) instead of a fresh one."),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="plain, recipe, recipe-or-jacobian, jacobian, entropic, mimic, differential, differential-bare, "
            "input-gradient or pgd; a weight after a colon, as in `entropic:0.6`. `entropic:auto` chooses the weight "
            "on validation images, in up to five trainings. `recipe` is robust training without attacks that needs no "
            "weight."
        ),
    ] = "plain",
    like: Annotated[
        Path | None,
        typer.Option(
            help="For `mimic`: weights of a robust network (safetensors) with layers of the same names, whose "
            "activation entropies on training images become the targets."
        ),
    ] = None,
    smooth: Annotated[
        bool,
        typer.Option(
            help="Swap every ReLU and its kin for SiLU before training (with --from, too); `recipe` is made for it."
        ),
    ] = False,
    threat: Annotated[
        list[str] | None,
        typer.Option(
            metavar=options.LIST,
            help="What the recipes and `pgd` train against, and `auto` and --patience choose by, such as `linf:8/255`; "
            "several radii as `linf:0.1,0.2`. May be repeated, but for `pgd`. Default: `linf:0.1`.",
        ),
    ] = None,
    give_up: Annotated[
        float | None,
        typer.Option(
            help="How much clean validation accuracy `recipe`, `auto` and --patience may give up, a share in [0, 1]. "
            "`recipe` is trained again with a half, a fourth and an eighth of its weight until it is kept. Default: as "
            "much as it takes for `recipe`, 0.01 for the other two."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 5,
    patience: Annotated[
        int | None,
        typer.Option(
            help="End after so many epochs without a better robust accuracy on validation images, against a cheap "
            "attack at --threat, and keep the best epoch. Default: train to the last epoch and keep that."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of fresh weights, of the order of images and of random starts.")] = 0,
    batch_size: options.BatchSize = 128,
    optimiser: options.Optimiser = "adam",
    learning_rate: options.LearningRate = None,
    weight_decay: options.WeightDecay = 0.0,
    schedule: options.Schedule = "cosine",
    augmentation: options.Augmentation = "none",
    precision: options.Precision = "auto",
    resume: options.Resume = True,
    tensorboard: Annotated[bool, typer.Option(help="Log for TensorBoard too; needs retemper[tensorboard].")] = False,
    progress: options.Progress = True,
) -> None:
    """Train a network, or retrain one that is trained already.

    For example, first `--objective plain --out runs/plain`, then
    `--from runs/plain/model.safetensors --objective entropic --epochs 2 --out runs/entropic`.
    """
    from retemper.cli.training import Asked, begun, check_objective, presets_with, train_once, train_tuned
    from retemper.data import load
    from retemper.errors import SettingError
    from retemper.objectives import PRESETS
    from retemper.threats import parse

    check_objective(objective, like)
    loaded = load(data, classes=options.names(classes) or None)
    factory = model if model is not None and ":" in model else None
    network = begun(start, model, activation, loaded, seed)
    presets = PRESETS if like is None else presets_with(like, factory, loaded, batch_size)
    settings = {
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "optimiser": optimiser,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "augmentation": augmentation,
        "precision": precision,
    }
    asked = Asked(
        network,
        loaded,
        [parsed for text in threat or ["linf:0.1"] for parsed in parse(text)],
        out,
        presets,
        settings,
        threat_named=bool(threat),
        smooth=smooth,
        give_up=give_up,
        patience=patience,
        resume=resume,
        progress=progress,
    )
    name, colon, weight = objective.strip().partition(":")
    if not colon or weight != "auto":
        train_once(asked, objective, trackers=["tensorboard"] if tensorboard else [])
    elif tensorboard:
        raise SettingError("TensorBoard follows one training, but `auto` makes several; leave out --tensorboard.")
    else:
        train_tuned(asked, name)
