"""What an alarm is."""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

CHECKLIST = "Carlini et al. 2019 (1902.06705)"
OBFUSCATED = "Athalye et al. 2018 (1802.00420)"
INDICATORS = "Pintor et al. 2022 (2106.09947)"


@dataclass(frozen=True)
class Alarm:
    """A sign that attacks on a model may have failed for reasons other than its robustness.

    Attributes:
        name: what reports call it.
        effect: how strong the sign is, in `unit`.
        threshold: the effect above which it rings; fainter ones appear on honest models too.
        unit: what `effect` counts.
        evidence: what was seen, with its numbers.
        meaning: what it means for a user, and what to do.
        source: where the sign is described.
        answered_by: the answer that silenced it; empty while it rings, or if it never did.
    """

    name: str
    effect: float
    threshold: float
    unit: str
    evidence: str
    meaning: str
    source: str
    answered_by: str = ""

    @property
    def rings(self) -> bool:
        """Whether the effect exceeds the threshold."""
        return self.effect > self.threshold


def share(images: Bool[Tensor, " images"]) -> str:
    """How many of them are marked, as evidence says it."""
    return f"{int(images.sum())} of {len(images)} images"
