import torch
from torch import nn

from retemper.models.hashing import architecture_hash, weights_hash


def test_the_hash_tells_weights_and_names_apart() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    assert weights_hash(first) != weights_hash(second)
    second.load_state_dict(first.state_dict())
    assert weights_hash(first) == weights_hash(second)
    assert weights_hash(first) != weights_hash(nn.Sequential(first))


def test_the_hash_of_an_architecture_tells_apart_what_has_no_weights() -> None:
    def built(*last: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), *last)

    others = [(), (nn.ReLU(),), (nn.SiLU(),), (nn.LeakyReLU(0.1),), (nn.LeakyReLU(0.2),), (nn.ReLU(), nn.Softmax(1))]
    assert len({architecture_hash(built(*last)) for last in others}) == len(others)
    assert architecture_hash(built(nn.ReLU())) == architecture_hash(built(nn.ReLU()).eval().double())


def test_the_hash_of_an_architecture_does_not_hang_on_where_it_lies_in_memory() -> None:
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.function = object()

        def extra_repr(self) -> str:
            return repr(self.function)

    first, second = Called(), Called()
    assert repr(first) != repr(second)
    assert architecture_hash(first) == architecture_hash(second)


class Shifted(nn.Module):
    def __init__(self, shift: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([shift]), persistent=False)


def test_a_buffer_that_is_not_saved_counts() -> None:
    assert weights_hash(Shifted(0.0)) != weights_hash(Shifted(3.0))
    assert weights_hash(Shifted(3.0)) == weights_hash(Shifted(3.0))


class Extra(nn.Linear):
    said = "a"

    def get_extra_state(self) -> str:
        return self.said

    def set_extra_state(self, state: str) -> None:
        self.said = state


def test_weights_of_any_type_and_extra_state_can_be_hashed() -> None:
    torch.manual_seed(0)
    layer = Extra(2, 2).to(torch.bfloat16)
    before = weights_hash(layer)
    layer.said = "b"
    assert weights_hash(layer) != before
    layer.said = "a"
    layer.weight.data[0, 0] += 1
    assert weights_hash(layer) != before
