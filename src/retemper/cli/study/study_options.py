"""Options that several studies share, each explained once."""

from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option(help="A network by name.")]
Models = Annotated[str, typer.Option(help="Networks by name, separated by commas.")]
BaseEpochs = Annotated[int, typer.Option(help="Of plain training from fresh weights.")]
Seeds = Annotated[int, typer.Option(help="Of weights and order: 0, 1, ...")]
Images = Annotated[int, typer.Option(help="Attacked, of validation and test.")]

GIVE_UP = "How much clean accuracy a weight may lose on validation images, a share."


def folder(content: str) -> Any:
    """The option of the folder that a study is kept in, which holds `content`."""
    return typer.Option(help=f"Folder for {content}; a killed run goes on from it.")
