"""What every term of the loss added up to, and the alarm when one is no longer a number."""

import torch

from retemper.errors import DivergenceError
from retemper.objectives import Loss

WINDOW = 50  # steps between two looks at the losses on an accelerator, where each look waits for it


class Ledger:
    """Collects the losses of one epoch without waiting for the device at every step.

    On the CPU every loss is looked at before the weights move, so that they never become NaN; elsewhere
    every `WINDOW` steps.
    """

    def __init__(self, device: torch.device, epoch: int, kept: str) -> None:
        self._window = 1 if device.type == "cpu" else WINDOW
        self._epoch, self._kept = epoch, kept
        self._waiting: list[torch.Tensor] = []
        self._names: list[str] = []
        self._totals: torch.Tensor | None = None
        self.steps = 0

    def add(self, loss: Loss) -> None:
        """Note one step.

        Raises:
            DivergenceError: a term of a step since the last look is NaN or infinite.
        """
        self._names = list(loss.parts)
        self._waiting.append(torch.stack([loss.total, *loss.parts.values()]).detach())
        if len(self._waiting) >= self._window:
            self._look()

    def _look(self) -> None:
        rows = torch.stack(self._waiting).cpu().double()  # Apple's MPS has no float64
        self._waiting.clear()
        broken = (~rows.isfinite()).any(1).nonzero()
        if len(broken):
            step = int(broken[0]) + self.steps + 1
            row = rows[int(broken[0]), 1:]
            terms = [f"{name} is {value}" for name, value in zip(self._names, row.tolist(), strict=True)]
            blamed = [term for term, value in zip(terms, row, strict=True) if not value.isfinite()] or terms
            raise DivergenceError(
                f"The loss is no longer a finite number at step {step} of epoch {self._epoch}: {', '.join(blamed)}. "
                f"{self._kept} A lower learning rate or a smaller weight of that term may help."
            )
        self.steps += len(rows)
        self._totals = rows.sum(0) if self._totals is None else self._totals + rows.sum(0)

    def close(self) -> dict[str, float]:
        """The mean loss and the mean of every term over the epoch."""
        if self._waiting:
            self._look()
        assert self._totals is not None, "an epoch has at least one step"
        means = (self._totals / self.steps).tolist()
        return dict(zip(["loss", *self._names], means, strict=True))
