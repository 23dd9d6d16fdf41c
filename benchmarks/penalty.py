"""What the input-gradient penalty costs beside ten-step PGD training and plain training.

Batch 128, 3x32x32, channels-last, fp32 and bf16. On `small-cnn` and two classes, the exact penalty with SiLU, as
`retemper study input-gradient` ends up with, PGD training with SiLU and with ReLU. On the entropic paper's network with
SiLU and ten classes, the penalty by a finite difference, of all images and of every fourth.
"""

from benchmarks.figures import Figure, paired_ratio
from benchmarks.step import step
from retemper.objectives import CrossEntropy, InputGradient, Objective, PGDTraining
from retemper.threats import L2

STEP = 2 / 255


def run(repeats: int) -> list[Figure]:
    """The step with the penalty over those of PGD training and over the plain one; by a difference over the exact."""
    return [
        figure for precision in ("fp32", "bf16") for part in (_exact, _by_step) for figure in part(precision, repeats)
    ]


def _exact(precision: str, repeats: int) -> list[Figure]:
    penalty = CrossEntropy() + 0.1 * InputGradient()
    pgd = PGDTraining(L2(1.0))
    peers = {"pgd_silu": (pgd, "silu"), "pgd_relu": (pgd, "relu"), "plain_relu": (CrossEntropy(), "relu")}
    figures = []
    ours = step(penalty, precision, network="small-cnn", activation="silu", classes=2)
    for name, (objective, activation) in peers.items():
        peer = step(objective, precision, network="small-cnn", activation=activation, classes=2)
        labels = (f"{penalty!r}, silu, {precision}", f"{objective!r}, {activation}, {precision}")
        figures.append(paired_ratio(_name(name, precision), ours, peer, labels, repeats))
    return figures


def _by_step(precision: str, repeats: int) -> list[Figure]:
    exact, by_step, fourth = (
        CrossEntropy() + 0.03 * InputGradient("loss", "l1", squared=False, step=size, every=every)
        for size, every in ((None, 1), (STEP, 1), (STEP, 4))
    )
    pairs: dict[str, tuple[Objective, Objective]] = {
        "step_plain": (by_step, CrossEntropy()),
        "step_exact": (by_step, exact),
        "step_every_4_plain": (fourth, CrossEntropy()),
    }
    figures = []
    for name, objectives in pairs.items():
        ours, peer = (step(objective, precision, activation="silu") for objective in objectives)
        labels = (f"{objectives[0]!r}, silu, {precision}", f"{objectives[1]!r}, silu, {precision}")
        figures.append(paired_ratio(_name(name, precision), ours, peer, labels, repeats))
    return figures


def _name(peer: str, precision: str) -> str:
    return f"input_gradient_{peer}_ratio{'' if precision == 'fp32' else '_bf16'}"
