"""What the input-gradient penalty costs beside ten-step PGD training: a step of `small-cnn` on two classes.

Batch 128, 3x32x32, channels-last, fp32 and bf16; the penalty with SiLU, as `retemper study input-gradient` ends up
with, PGD training with SiLU and with ReLU.
"""

from benchmarks.figures import Figure, paired_ratio
from benchmarks.step import step
from retemper.objectives import CrossEntropy, InputGradient, PGDTraining
from retemper.threats import L2


def run(repeats: int) -> list[Figure]:
    """The step with the penalty over those of PGD training, and over the plain one."""
    penalty = CrossEntropy() + 0.1 * InputGradient()
    pgd = PGDTraining(L2(1.0))
    peers = {"pgd_silu": (pgd, "silu"), "pgd_relu": (pgd, "relu"), "plain_relu": (CrossEntropy(), "relu")}
    figures = []
    for precision in ("fp32", "bf16"):
        suffix = "" if precision == "fp32" else "_bf16"
        ours = step(penalty, precision, network="small-cnn", activation="silu", classes=2)
        for name, (objective, activation) in peers.items():
            peer = step(objective, precision, network="small-cnn", activation=activation, classes=2)
            labels = (f"{penalty!r}, silu, {precision}", f"{objective!r}, {activation}, {precision}")
            figures.append(paired_ratio(f"input_gradient_{name}_ratio{suffix}", ours, peer, labels, repeats))
    return figures
