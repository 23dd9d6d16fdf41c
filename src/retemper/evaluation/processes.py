"""One evaluation over several processes, as `accelerate launch` or `torchrun` starts them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate.utils import gather_object

from retemper.process_group import join, launched

T = TypeVar("T")


class Processes:
    """This process among those that share the work; alone unless a launcher said otherwise.

    Attributes:
        index: of this process, from 0.
        count: how many there are.
        device: where this process computes; None, for wherever the model is, if it is alone.
    """

    def __init__(self) -> None:
        self.index, self.count = 0, 1
        self.device: torch.device | None = None
        if launched():
            state = join()
            self.index, self.count, self.device = state.process_index, state.num_processes, state.device

    @property
    def is_main(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.index == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, and then in the others."""
        if self.count == 1:
            yield
            return
        with join().main_process_first():
            yield

    def own(self, number: int) -> bool:
        """Whether the piece of work of this number is this process's."""
        return number % self.count == self.index

    def gather(self, found: dict[int, T]) -> dict[int, T]:
        """What all processes found, by the number of the piece, in each of them."""
        if self.count == 1:
            return found
        return dict(gather_object(list(found.items())))
