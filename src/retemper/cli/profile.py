"""`retemper profile`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def profile(
    weights: options.Weights,
    against: Annotated[
        Path | None,
        typer.Option(help="Weights of another network with the same layers: shows both, and the first minus this one."),
    ] = None,
    model: options.Factory = None,
    data: options.Data = "digits",
    classes: options.Classes = "",
    layers: Annotated[
        str, typer.Option(help="Layers by name or pattern, separated by commas; `all` is every nonlinearity.")
    ] = "all",
    images: Annotated[int, typer.Option(help="How many test images to show to the network: the first so many.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder for profile.json and profile.svg.")] = None,
) -> None:
    """Show what each layer of a trained network keeps: entropies, effective rank, share of active units.

    Each figure stands beside the largest value that it could have, with its interval over images and its change from
    the layer before.
    """
    from retemper.cli import profiling
    from retemper.cli.terminal import Terminal
    from retemper.files import check_writable

    asked = profiling.Asked(
        weights=tuple(path for path in (weights, against) if path is not None),
        factory=model,
        data=data,
        classes=options.names(classes),
        layers=options.names(layers),
        images=images,
    )
    if out is not None:
        check_writable(out / "profile.json")
    found = profiling.run(asked)
    console = Terminal()
    console.print(profiling.table(found))
    if out is not None:
        profiling.write(found, out)
        typer.echo(f"Written: {out / 'profile.json'}, {out / 'profile.svg'}")
