import copy

import pytest
import torch
from torch import Tensor, nn

from retemper.models.state import State, UnsavedBuffers, unsaved_buffers


class Remembering(nn.Module):
    """Buffers of every kind, saved and not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.BatchNorm1d(2)
        self.first, self.second = nn.Identity(), nn.Identity()
        self.register_buffer("saved", torch.zeros(2))
        self.register_buffer("mean", torch.zeros(2), persistent=False)
        self.register_buffer("cached", None, persistent=False)
        self.register_buffer("unset", torch.tensor([float("nan")]), persistent=False)
        self.register_buffer("positions", torch.arange(2).expand(3, -1), persistent=False)
        for module in (self.first, self.second):
            module.register_buffer("shared", self.mean, persistent=False)


def held(model: nn.Module) -> dict[str, Tensor]:
    return {**model.state_dict(), **unsaved_buffers(model)}


@torch.no_grad()
def change(model: Remembering) -> None:
    model.train()
    model.layer(torch.rand(4, 2))
    model.layer.weight += 1
    model.saved += 1
    model.mean += 1
    model.cached = torch.ones(5)
    model.second.shared = torch.ones(3)


def test_those_that_are_not_saved_are_found_by_each_of_their_names() -> None:
    assert set(unsaved_buffers(Remembering())) == {"mean", "unset", "positions", "first.shared", "second.shared"}


@pytest.mark.parametrize("another", [False, True])
def test_all_that_a_model_held_is_put_back(another: bool) -> None:
    model = Remembering()
    before, state = copy.deepcopy(held(model)), State(model)
    for _ in range(2):  # what was put back is still kept
        change(model)
        state.put_back(copied := copy.deepcopy(model) if another else model)
        assert held(copied).keys() == before.keys()
        assert copied.cached is None
        for name, value in held(copied).items():
            assert torch.allclose(value, before[name], rtol=0, atol=0, equal_nan=True)
        assert copied.mean is copied.first.shared, "in place, so that it stays shared"


def test_what_has_changed_is_named() -> None:
    model = Remembering()
    unsaved = UnsavedBuffers(model)
    with torch.no_grad():
        model.saved += 1
        model.layer.running_mean += 1
    assert unsaved.changed(model) == []
    change(model)
    assert unsaved.changed(model) == ["mean", "first.shared", "second.shared", "cached"]
    full = UnsavedBuffers(model)
    model.cached = None
    assert full.changed(model) == ["cached"]
