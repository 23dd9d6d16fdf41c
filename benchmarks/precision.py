"""What bf16 and channels-last gain: the plain step in each precision, against plain fp32.

The entropic paper's network, batch 128, 3x32x32. bf16 pays where the processor multiplies in it (AMX, AVX512_BF16).
"""

from benchmarks.figures import Figure, paired_ratio
from benchmarks.step import step
from retemper.objectives import CrossEntropy


def run(repeats: int) -> list[Figure]:
    """Speed-up of each over plain fp32: the peer's time over ours."""
    variants = {
        "channels_last_speedup": ("fp32, channels-last", step(CrossEntropy(), "fp32")),
        "bf16_contiguous_speedup": ("bf16", step(CrossEntropy(), "bf16", channels_last=False)),
        "bf16_speedup": ("bf16, channels-last", step(CrossEntropy(), "bf16")),
    }
    plain = step(CrossEntropy(), "fp32", channels_last=False)
    return [
        # The speed-up is plain over variant, so that the variant is the divisor.
        paired_ratio(name, plain, variant, (label, "fp32"), repeats)
        for name, (label, variant) in variants.items()
    ]
