import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import apgd, apgd_from_square, square
from retemper.errors import GradientError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import Linf


class Thresholded(nn.Module):
    """Sees nothing of changes below a threshold: around the images, and around starts in the ball, all is flat."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.threshold = threshold
        self.weight = torch.randn(36, 2, generator=generator)
        self.asked = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked += len(inputs)
        seen = torch.relu((inputs - 0.5).flatten(1).abs() - self.threshold) * (inputs - 0.5).flatten(1).sign()
        return seen @ self.weight + torch.tensor([0.05, 0.0])


def test_squares_lead_to_where_gradients_lead_on() -> None:
    # Only steps of the whole radius are seen: starts drawn from the ball are seen in few of their coordinates.
    model, threat = Thresholded(0.0999), Linf(0.1)
    inputs, labels = torch.full((20, 1, 6, 6), 0.5), torch.zeros(20, dtype=torch.int64)

    def fallen(moved: Tensor) -> int:
        assert threat.allows(moved, inputs).all()
        return int((logits(model, moved).argmax(1) != labels).sum())

    model.weight = model.weight * 40
    from_ball = fallen(apgd(model, inputs, labels, threat, steps=30, starts=inputs))
    from_squares = fallen(apgd_from_square(model, inputs, labels, threat, queries=10, steps=20, restarts=3))
    assert from_ball == 0
    assert from_squares > 10


def test_each_restart_takes_its_own_noise_and_only_what_stands() -> None:
    model, threat = Thresholded(0.0), Linf(1e-4)
    inputs, labels = torch.full((5, 1, 6, 6), 0.5), torch.zeros(5, dtype=torch.int64)
    assert (logits(model, inputs).argmax(1) == labels).all()
    model.asked = 0
    apgd_from_square(model, inputs, labels, threat, queries=4, steps=3, restarts=2)
    # Square's queries and a look at its end, APGD's gradients and its last look, and our own: nothing fell.
    assert model.asked == 5 * 2 * (4 + 1 + 3 + 1 + 1)


def test_one_restart_is_square_and_then_apgd() -> None:
    model, threat = Thresholded(0.02), Linf(0.03)
    inputs, labels = torch.full((6, 1, 6, 6), 0.5), torch.zeros(6, dtype=torch.int64)
    noise = Noise.for_batch(inputs, 3)
    own = noise.at(0)
    start = square(model, inputs, labels, threat, own, queries=5)
    expected = apgd(model, inputs, labels, threat, own, steps=4, loss="margin", starts=start, step_size=0.5)
    moved = apgd_from_square(model, inputs, labels, threat, noise, queries=5, steps=4, restarts=1)
    torch.testing.assert_close(moved, expected)


class Cut(nn.Module):
    """Has no gradient."""

    def forward(self, inputs: Tensor) -> Tensor:
        score = (inputs.detach().flatten(1)[:, :8].mean(1) - 0.5) * 20
        return torch.stack([-score, score], 1)


def test_what_the_queries_broke_is_not_lost_where_gradients_are_cut() -> None:
    inputs = 0.4 + 0.2 * torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = Cut()(inputs).argmax(1)
    alone = square(Cut(), inputs, labels, Linf(0.03), Noise.for_batch(inputs).at(0), queries=30, loss="margin")
    fell = Cut()(alone).argmax(1) != labels
    assert 0 < fell.sum() < 40
    points = apgd_from_square(Cut(), inputs, labels, Linf(0.03), restarts=1)
    assert torch.equal(points[fell], alone[fell])


def test_a_model_without_gradients_is_refused_where_the_queries_broke_nothing() -> None:
    inputs = torch.full((3, 1, 4, 4), 0.9)
    with pytest.raises(GradientError):
        apgd_from_square(Cut(), inputs, Cut()(inputs).argmax(1), Linf(0.01))
