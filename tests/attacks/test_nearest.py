import torch
from torch import Tensor, nn

from retemper.attacks.nearest import Nearest, bisect
from retemper.threats import Linf


def places(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


def test_closer_points_replace_farther_ones_and_only_where_adversarial() -> None:
    inputs = torch.zeros(3, 2)
    nearest = Nearest(inputs, Linf(0.1), within=False)
    everything = places(0, 1, 2)
    nearest.record(everything, torch.full((3, 2), 0.5), torch.tensor([True, True, False]))
    stay = nearest.record(places(0, 1), torch.tensor([[0.3, 0.3], [0.6, 0.6]]), torch.tensor([True, True]))
    assert stay.all()
    nearest.record(places(1, 2), torch.full((2, 2), 0.1), torch.tensor([False, False]))
    assert torch.equal(nearest.points, torch.tensor([[0.3, 0.3], [0.5, 0.5], [0.0, 0.0]]))
    torch.testing.assert_close(nearest.distances, torch.tensor([0.3, 0.5, torch.inf], dtype=torch.float64))


def test_images_are_done_at_distance_zero_and_with_within_inside_the_threat() -> None:
    tried = torch.tensor([[0.0], [0.05], [0.2], [0.05]])
    fallen = torch.tensor([True, True, True, False])
    for within, standing in ((False, [1, 2, 3]), (True, [2, 3])):
        nearest = Nearest(torch.zeros(4, 1), Linf(0.1), within=within)
        stay = nearest.record(places(0, 1, 2, 3), tried, fallen)
        assert nearest.standing().tolist() == standing
        assert stay.nonzero()[:, 0].tolist() == standing


def test_bisection_ends_within_a_thousandth_beyond_the_boundary() -> None:
    model = nn.Linear(1, 2, dtype=torch.float64)
    model.weight.data = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    model.bias.data = torch.tensor([0.3, -0.3], dtype=torch.float64)  # the answer is 1 beyond 0.3
    inputs = torch.zeros(3, 1, dtype=torch.float64)
    nearest = Nearest(inputs, Linf(0.1), within=False)
    found = torch.tensor([[1.0], [0.31], [0.9]], dtype=torch.float64)
    nearest.record(places(0, 1, 2), found, torch.tensor([True, True, False]))
    bisect(model, nearest, torch.zeros(3, dtype=torch.int64))
    reached = nearest.points[:2, 0]
    assert (reached > 0.3).all()
    assert (reached - 0.3 <= found[:2, 0] / 1000).all()
    assert float(nearest.points[2, 0]) == 0
