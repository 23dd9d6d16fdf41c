import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from retemper.attacks.losses import LOSSES, TARGETED, cross_entropy, dlr, margin, named, targeted_dlr, targeted_margin
from retemper.errors import SettingError

LOGITS = st.integers(0, 2**31).map(
    lambda seed: 4 * torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)).double()
)
LABELS = torch.tensor([0, 1, 2, 5, 5])


@given(LOGITS)
@settings(deadline=None)
def test_cross_entropy_is_a_rising_function_of_torchs(logits: torch.Tensor) -> None:
    torch.testing.assert_close(
        F.softplus(cross_entropy(logits, LABELS)), F.cross_entropy(logits, LABELS, reduction="none")
    )


@given(LOGITS)
@settings(deadline=None)
def test_cross_entropy_has_the_direction_of_torchs_gradient(logits: torch.Tensor) -> None:
    logits.requires_grad_()
    (ours,) = torch.autograd.grad(cross_entropy(logits, LABELS).sum(), logits)
    (theirs,) = torch.autograd.grad(F.cross_entropy(logits, LABELS, reduction="sum"), logits)
    torch.testing.assert_close(F.normalize(ours), F.normalize(theirs))


def test_cross_entropy_keeps_its_gradient_on_confident_answers() -> None:
    logits = torch.tensor([[1e4, 0.0, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, torch.tensor([0])).sum(), logits)
    share = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, share, 1 - share]]))


@given(LOGITS)
@settings(deadline=None)
def test_margin_and_dlr_are_those_of_a_plain_loop(logits: torch.Tensor) -> None:
    margins, ratios = margin(logits, LABELS), dlr(logits, LABELS)
    for image, row in enumerate(logits.tolist()):
        label = int(LABELS[image])
        gap = max(z for k, z in enumerate(row) if k != label) - row[label]
        ordered = sorted(row, reverse=True)
        assert margins[image].item() == pytest.approx(gap)
        assert ratios[image].item() == pytest.approx(gap / (ordered[0] - ordered[2]))


@given(LOGITS, st.floats(0.01, 100), st.floats(-50, 50))
@settings(deadline=None)
def test_dlr_is_blind_to_scale_and_shift(logits: torch.Tensor, scale: float, shift: float) -> None:
    torch.testing.assert_close(dlr(scale * logits + shift, LABELS), dlr(logits, LABELS), rtol=1e-6, atol=1e-8)


@given(LOGITS, st.integers(1, 5))
@settings(deadline=None)
def test_targeted_losses_are_those_of_a_plain_loop(logits: torch.Tensor, shift: int) -> None:
    targets = (LABELS + shift) % 6
    margins, ratios = targeted_margin(logits, LABELS, targets), targeted_dlr(logits, LABELS, targets)
    for image, row in enumerate(logits.tolist()):
        gap = row[int(targets[image])] - row[int(LABELS[image])]
        ordered = sorted(row)
        assert margins[image].item() == pytest.approx(gap)
        # As AutoAttack has it: -(z_y - z_t) / (z_pi1 - (z_pi3 + z_pi4) / 2).
        assert ratios[image].item() == pytest.approx(gap / (ordered[-1] - 0.5 * (ordered[-3] + ordered[-4])))


@given(LOGITS)
@settings(deadline=None)
def test_the_margin_is_the_largest_targeted_margin(logits: torch.Tensor) -> None:
    every = [targeted_margin(logits, LABELS, (LABELS + shift) % 6) for shift in range(1, 6)]
    torch.testing.assert_close(margin(logits, LABELS), torch.stack(every).amax(0), rtol=0, atol=0)


@pytest.mark.parametrize("name", TARGETED)
def test_targeted_losses_are_above_zero_once_the_target_is_ahead(name: str) -> None:
    logits = torch.tensor([[9.0, 1.0, 0.0, 0.0], [0.0, 9.0, 1.0, 0.0]])
    right, wrong = TARGETED[name](logits, torch.tensor([0, 0]), torch.tensor([1, 1]))
    assert right < 0 < wrong


@given(LOGITS, st.floats(0.01, 100), st.floats(-50, 50))
@settings(deadline=None)
def test_targeted_dlr_is_blind_to_scale_and_shift(logits: torch.Tensor, scale: float, shift: float) -> None:
    targets = (LABELS + 2) % 6
    torch.testing.assert_close(
        targeted_dlr(scale * logits + shift, LABELS, targets),
        targeted_dlr(logits, LABELS, targets),
        rtol=1e-6,
        atol=1e-8,
    )


def test_dlr_of_equal_logits_is_zero_and_not_nan() -> None:
    assert dlr(torch.zeros(1, 4), torch.tensor([2])).item() == 0
    assert targeted_dlr(torch.zeros(1, 4), torch.tensor([2]), torch.tensor([1])).item() == 0


def test_targeted_dlr_is_refused_for_three_classes() -> None:
    with pytest.raises(SettingError, match="3 classes"):
        targeted_dlr(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1]))


def test_dlr_is_refused_for_two_classes() -> None:
    with pytest.raises(SettingError, match="2 classes"):
        dlr(torch.zeros(1, 2), torch.tensor([0]))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_highest_above_zero_once_the_answer_is_clearly_wrong(name: str) -> None:
    logits = torch.tensor([[9.0, 1.0, 0.0], [0.0, 9.0, 1.0]])
    right, wrong = named(name)(logits, torch.tensor([0, 0]))
    assert right < 0 < wrong


def test_an_unknown_loss_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="'hinge'"):
        named("hinge")
