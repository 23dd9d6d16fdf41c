"""One evaluation over several processes, as `accelerate launch` or `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

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
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            # Told of no accelerator, it takes a launcher's processes for ones that have nothing to do with each other.
            state = PartialState(cpu=not torch.accelerator.is_available())
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
        from accelerate import PartialState

        with PartialState().main_process_first():
            yield

    def own(self, number: int) -> bool:
        """Whether the piece of work of this number is this process's."""
        return number % self.count == self.index

    def gather(self, found: dict[int, T]) -> dict[int, T]:
        """What all processes found, by the number of the piece, in each of them."""
        if self.count == 1:
            return found
        from accelerate.utils import gather_object

        return dict(gather_object(list(found.items())))
