"""The commands and how their errors are shown."""

import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from retemper.cli.certify import certify
from retemper.cli.compare import compare
from retemper.cli.evaluate import evaluate
from retemper.cli.profile import profile
from retemper.cli.study import study
from retemper.cli.train import train
from retemper.cli.verify import verify
from retemper.errors import RetemperError

app = typer.Typer(
    name="retemper",
    help="Make PyTorch classifiers robust without adversarial examples, and measure honestly whether it worked.\n\n"
    "Start with `retemper compare`: it needs nothing but this package.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (compare, train, evaluate, certify, verify, profile):
    app.command()(command)
app.add_typer(study)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"retemper {version('retemper')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


STOPPED = 130
FAULT = 70  # of the program, as sysexits.h has it: no status that a verdict has


def main() -> None:
    """Run the command; what the user got wrong, and what the disk refused, is one message and exit status 2.

    Anything else that fails is ours to mend: its traceback, and exit status 70. Python's own status would be 1, by
    which `evaluate` says that a claim is refuted.
    """
    try:
        app()
    except SystemExit as left:
        if left.code == STOPPED:  # Typer turns what is stopped by hand into an exit without a word
            typer.echo("Stopped. The same command goes on where it was, if it keeps what is done in --out.", err=True)
        raise
    except RetemperError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"Reading or writing failed: {error}. What was there before is still there.")
    except Exception:
        traceback.print_exc()
        typer.echo("This is a fault of retemper, and says nothing of the network.", err=True)
        sys.exit(FAULT)


def _fail(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), message))
    sys.exit(2)
