"""`retemper profile`."""

from typing import Annotated

import typer

from retemper.cli import options


def profile(
    weights: options.Weights,
    model: options.Factory = None,
    data: options.Data = "digits",
    classes: options.Classes = "",
    layers: Annotated[
        str, typer.Option(help="Layers by name or pattern, separated by commas; `all` is every nonlinearity.")
    ] = "all",
    images: Annotated[int, typer.Option(help="How many test images to show to the network: the first so many.")] = 300,
) -> None:
    """Show what each layer of a trained network keeps: entropies, effective rank, share of active units.

    Each figure stands beside the largest value that it could have.
    """
    from rich.console import Console

    from retemper.cli.tables import profile_table
    from retemper.data import load
    from retemper.information import profile as measure
    from retemper.models import load as load_model
    from retemper.training import check_fit

    network = load_model(weights, model)
    loaded = load(data, classes=options.names(classes) or None)
    check_fit(network, loaded)
    shown = loaded.test.take(images)
    Console().print(profile_table(measure(network, shown.batches(256), options.names(layers)), len(shown), loaded))
