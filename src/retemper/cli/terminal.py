"""The console of all commands."""

import os
import sys

from rich.console import Console


class Terminal(Console):
    """A console that prints names as they are, and whose reader may leave early, as `head` does.

    Rich takes brackets and colons in a name of data or of a network for markup. Where nobody reads on it would end the
    program with status 1, by which a claim is refuted: what was found is the exit status all the same.
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        # What is still in a buffer goes nowhere, and not into another error when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
