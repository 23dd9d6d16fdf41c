from types import SimpleNamespace

import pytest
import torch

from retemper.objectives.draws import Draws, as_they_were

CPU = torch.device("cpu")


def test_the_same_is_drawn_again_and_then_what_would_have_come() -> None:
    torch.manual_seed(0)
    draws = Draws(CPU)
    first = torch.rand(3)
    with draws.again():
        assert torch.equal(torch.rand(3), first)
    after = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(3)
    assert torch.equal(torch.rand(3), after)


def test_generators_are_put_back_also_where_the_block_fails() -> None:
    def draws_and_fails() -> None:
        with as_they_were(CPU):
            torch.rand(5)
            raise KeyError

    torch.manual_seed(0)
    with pytest.raises(KeyError):
        draws_and_fails()
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)


@pytest.mark.parametrize(("kind", "which"), [("cuda", 1), ("xpu", 1), ("mps", 0)])
def test_the_generator_of_any_accelerator_draws_again_too(
    kind: str, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in: no accelerator is here. MPS has one device, and asks for none."""
    state = [torch.tensor([1])]

    def get(*device: torch.device) -> torch.Tensor:
        assert len(device) == which
        return state[0]

    def put(value: torch.Tensor, *device: torch.device) -> None:
        assert len(device) == which
        state[0] = value

    module = SimpleNamespace(get_rng_state=get, set_rng_state=put)
    monkeypatch.setattr(torch, "get_device_module", lambda _device: module)
    draws = Draws(torch.device(kind, 0))
    state[0] = torch.tensor([2])
    with draws.again():
        assert state[0] == 1
        state[0] = torch.tensor([3])
    assert state[0] == 2
