"""What attacks climb: one loss an image, higher is closer to a wrong answer."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import SettingError

LossFunction = Callable[[Float[Tensor, "images classes"], Int[Tensor, " images"]], Float[Tensor, " images"]]
TargetedLoss = Callable[
    [Float[Tensor, "images classes"], Int[Tensor, " images"], Int[Tensor, " images"]], Float[Tensor, " images"]
]


def cross_entropy(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, " images"]:
    """The cross-entropy as log-odds: L = log sum_{k != y} exp z_k - z_y, of which it is log(1 + exp L).

    Steps of a set length follow the direction of the gradient alone, and higher is compared with lower: both
    are the same for the two. But the gradient of the cross-entropy itself rounds to zero on confident
    answers, which would make an overconfident model look robust; that of the log-odds never does (ours).

    >>> import torch
    >>> cross_entropy(torch.tensor([[200.0, 1.0, 1.0]]), torch.tensor([0]))
    tensor([-198.3069])
    """
    return _others(logits, labels).logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]


def margin(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, " images"]:
    """max_{k != y} z_k - z_y: above zero where the answer is wrong (Carlini & Wagner 2017, 1608.04644).

    >>> import torch
    >>> margin(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]))
    tensor([-0.5000])
    """
    return _others(logits, labels).amax(1) - logits.gather(1, labels[:, None])[:, 0]


def dlr(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, " images"]:
    """The difference of logits ratio: the margin over z_(1) - z_(3), blind to scale (Croce & Hein 2020, eq. 6).

    Raises:
        SettingError: there are fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise SettingError(
            f"The DLR loss divides by the gap to the third largest logit, but there are {logits.shape[1]} classes; "
            "use the margin loss."
        )
    top = logits.topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def targeted_margin(
    logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], targets: Int[Tensor, " images"]
) -> Float[Tensor, " images"]:
    """z_t - z_y: above zero where the target is ahead of the label.

    >>> import torch
    >>> targeted_margin(torch.tensor([[3.0, 1.0, 2.5]]), torch.tensor([0]), torch.tensor([1]))
    tensor([-2.])
    """
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def targeted_dlr(
    logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], targets: Int[Tensor, " images"]
) -> Float[Tensor, " images"]:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2), blind to scale (Croce & Hein 2020, eq. 7).

    Raises:
        SettingError: there are fewer than four classes.
    """
    if logits.shape[1] < 4:
        raise SettingError(
            f"The targeted DLR loss needs the four largest logits, but there are {logits.shape[1]} classes; "
            "use the margin loss."
        )
    top = logits.topk(4, dim=1).values
    scale = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return targeted_margin(logits, labels, targets) / scale.clamp_min(1e-12)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.scatter(1, labels[:, None], -float("inf"))


LOSSES: dict[str, LossFunction] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}
TARGETED: dict[str, TargetedLoss] = {"margin": targeted_margin, "dlr": targeted_dlr}


def named(loss: str) -> LossFunction:
    """The loss of this name.

    Raises:
        SettingError: there is none.
    """
    if loss not in LOSSES:
        raise SettingError(f"Expected `loss` to be one of {', '.join(LOSSES)}, but got {loss!r}.")
    return LOSSES[loss]


def named_targeted(loss: str) -> TargetedLoss:
    """The targeted loss of this name.

    Raises:
        SettingError: there is none.
    """
    if loss not in TARGETED:
        raise SettingError(f"Expected `loss` to be one of {', '.join(TARGETED)}, but got {loss!r}.")
    return TARGETED[loss]
