"""The command `retemper`: a thin face over the Python API."""

from retemper.cli.app import main

__all__ = ["main"]
