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
