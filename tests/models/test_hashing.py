import torch
from torch import nn

from retemper.models.hashing import weights_hash


def test_the_hash_tells_weights_and_names_apart() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    assert weights_hash(first) != weights_hash(second)
    second.load_state_dict(first.state_dict())
    assert weights_hash(first) == weights_hash(second)
    assert weights_hash(first) != weights_hash(nn.Sequential(first))
