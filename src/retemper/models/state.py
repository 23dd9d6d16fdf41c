"""What a model has learnt, kept in memory and put back: its state_dict, and the buffers that are not in it."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


def unsaved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that the state_dict leaves out, as they were registered with persistent=False."""
    saved = model.state_dict()
    # By each of its names: modules that share a buffer need not share what takes its place.
    return {name: buffer for name, buffer in model.named_buffers(remove_duplicate=False) if name not in saved}


class UnsavedBuffers:
    """A copy of the buffers that a model's state_dict leaves out."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = {name: buffer.detach().clone() for name, buffer in unsaved_buffers(model).items()}

    def changed(self, model: nn.Module) -> list[str]:
        """The names of those that are new in the model, gone, or hold something else."""
        now = unsaved_buffers(model)
        return [name for name in {**self._kept, **now} if not _equal(self._kept.get(name), now.get(name))]

    @torch.no_grad()
    def put_back(self, model: nn.Module) -> None:
        """Give them to this model, or to a copy of it."""
        now = unsaved_buffers(model)
        for name in self.changed(model):
            kept, there = self._kept.get(name), now.get(name)
            if kept is not None and there is not None and _alike(kept, there):
                there.copy_(kept)  # in place, for whoever else refers to it
            else:
                path, _, own_name = name.rpartition(".")
                setattr(model.get_submodule(path), own_name, kept if kept is None else kept.clone())


class State:
    """A copy of a model's state_dict, and of the buffers that it leaves out."""

    def __init__(self, model: nn.Module) -> None:
        self._saved: dict[str, Any] = copy.deepcopy(model.state_dict())
        self._unsaved = UnsavedBuffers(model)

    def put_back(self, model: nn.Module) -> None:
        """Give it to this model, or to a copy of it."""
        model.load_state_dict(self._saved)
        self._unsaved.put_back(model)


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return _alike(one, other) and torch.allclose(one, other.to(one.device), rtol=0, atol=0, equal_nan=True)
