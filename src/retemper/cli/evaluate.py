"""`retemper evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def evaluate(
    weights: options.Weights,
    model: options.Factory = None,
    data: options.Data = "digits",
    classes: options.Classes = "",
    threat: options.Threats = ["linf:0.1"],  # noqa: B006 - typer copies it
    split: options.Split = "test",
    images: options.Images = 1000,
    attacks: options.Attacks = "apgd-ce,apgd-dlr",
    steps: options.Steps = 100,
    restarts: options.Restarts = 1,
    seed: Annotated[int, typer.Option(help="Seed of the attacks' random starts.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures and what happened to every image here.")] = None,
    progress: options.Progress = True,
) -> None:
    """Attack a trained network and print what share of the test images still stands.

    An image counts as robust only if every attack failed on it: the figure is an upper bound, not a proof.
    """
    from rich.console import Console

    from retemper.cli.tables import evaluation_table
    from retemper.data import load
    from retemper.environment import describe
    from retemper.evaluation import evaluate as attack
    from retemper.evaluation import plan
    from retemper.files import write_json
    from retemper.models import load as load_model
    from retemper.threats import parse
    from retemper.training import check_fit

    threats = [found for text in threat for found in parse(text)]
    chosen = options.names(attacks)
    plan(chosen, steps=steps, restarts=restarts)  # before anything is loaded
    loaded = load(data, classes=options.names(classes) or None)
    network = load_model(weights, model)
    check_fit(network, loaded)
    evaluation = attack(
        network,
        loaded.split(split).take(images),
        threats,
        attacks=plan(chosen, steps=steps, restarts=restarts, classes=len(loaded.classes)),
        seed=seed,
        progress=progress,
    )
    Console().print(evaluation_table(evaluation, loaded, split))
    if json is not None:
        write_json(
            json,
            {
                "weights": str(weights),
                "data": {"name": loaded.name, "note": loaded.note, "split": split, "fingerprint": loaded.fingerprint()},
                "environment": describe(),
                **evaluation.as_json(),
            },
        )
