"""What the papers' terms cost: a training step with each, against the plain step, in time and peak memory.

The entropic paper's network, batch 128, 3x32x32, fp32 and bf16, channels-last.
"""

from benchmarks.figures import Figure, figure, paired_ratio
from benchmarks.memory import peak_bytes
from benchmarks.step import step
from retemper.objectives import CrossEntropy, Objective, WeightedSum, differential_training, entropic_retraining

MEMORY_REPEATS = 3


def run(repeats: int) -> list[Figure]:
    """The step with each objective over the plain step."""
    objectives: dict[str, WeightedSum] = {
        "differential": differential_training(input_gradient=0),
        "differential_with_input_gradient": differential_training(),
        "entropic": entropic_retraining(),
    }
    plain = CrossEntropy()
    figures = []
    for precision in ("fp32", "bf16"):
        suffix = "" if precision == "fp32" else "_bf16"
        for name, objective in objectives.items():
            labels = (f"{objective!r}, {precision}", f"{plain!r}, {precision}")
            ours, peer = step(objective, precision), step(plain, precision)
            figures.append(paired_ratio(f"{name}_step_ratio{suffix}", ours, peer, labels, repeats))
            figures.append(_memory(f"{name}_memory_ratio{suffix}", objective, plain, precision, labels))
    return figures


def _memory(name: str, ours: Objective, peer: Objective, precision: str, labels: tuple[str, str]) -> Figure:
    ratios = [peak_bytes(ours, precision) / peak_bytes(peer, precision) for _ in range(MEMORY_REPEATS)]
    return figure(name, ratios, labels)
