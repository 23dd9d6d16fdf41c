"""`retemper verify`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options
from retemper.cli.networks import build


def verify(
    bundle: Annotated[Path, typer.Argument(help="A refutation that `retemper evaluate` wrote.")],
    model: Annotated[
        str,
        typer.Option(
            help="The network: its weights in safetensors, or `package.module:factory` that builds it, weights and all."
        ),
    ],
    factory: Annotated[
        str | None,
        typer.Option(help="`package.module:factory` that builds the network, for weights of one that is your own."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Compare the original images and labels with this data set, named as for `evaluate`: without it a "
            "refutation could be of images and labels that somebody made up."
        ),
    ] = None,
    classes: options.Classes = "",
    bounds: Annotated[
        tuple[float, float],
        typer.Option(help="Of the model's inputs, such as `0 1`. A refutation within other ones does not stand."),
    ] = (0.0, 1.0),
    json: Annotated[Path | None, typer.Option(help="Write what was found here.")] = None,
) -> None:
    """Recheck a refutation in seconds, without any attack: is each input within the threat, is each answer wrong?

    Exit status 0 if the refutation stands, 1 if it does not, 2 if it could not be checked.
    """
    from retemper.cli.terminal import Terminal
    from retemper.cli.verdicts import verification_table
    from retemper.data import load
    from retemper.evaluation.bundle import read_bundle
    from retemper.evaluation.verification import verify as recheck
    from retemper.files import write_json

    refutation = read_bundle(bundle)
    network = build(model, factory)
    split = None
    if data is not None:
        split = load(data, classes=options.names(classes) or None).split(refutation.data["split"])
    found = recheck(refutation, network, split, bounds=bounds)
    if json is not None:
        write_json(json, {"bundle": str(bundle), "model": model, **found.as_json()})
    Terminal().print(verification_table(found, refutation))
    raise typer.Exit(0 if found.stands else 1)
