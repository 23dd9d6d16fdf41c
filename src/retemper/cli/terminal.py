"""The console of the commands whose exit status is an answer."""

import os
import sys

from rich.console import Console


class Terminal(Console):
    """A console whose reader may leave early, as `head` does: what was found is the exit status all the same.

    Rich would end the program with status 1, by which a claim is refuted.
    """

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        # What is still in a buffer goes nowhere, and not into another error when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
