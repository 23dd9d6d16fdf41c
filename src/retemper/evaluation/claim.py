"""A claim of robust accuracy, and the verdict that attacks and certificates allow on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from retemper.errors import SettingError
from retemper.evaluation.intervals import Interval, wilson
from retemper.threats import Threat, parse

Word = Literal["refuted", "not to be trusted", "undecided", "not refuted", "proved"]

# For scripts: 0 lets a pipeline go on; 2 stays for a command that was called wrongly.
EXIT_STATUSES: dict[Word, int] = {
    "not refuted": 0,
    "proved": 0,
    "refuted": 1,
    "not to be trusted": 3,
    "undecided": 4,
}


@dataclass(frozen=True)
class Claim:
    """That a model answers at least a share of images rightly whatever a threat does to them.

    Args:
        accuracy: the share, in (0, 1].
        threat: norm, radius and bounds.

    Raises:
        SettingError: the share is no such number.
    """

    accuracy: float
    threat: Threat

    def __post_init__(self) -> None:
        if not 0 < self.accuracy <= 1:
            raise SettingError(
                f"Expected a claimed accuracy above 0 and at most 1 (or 100 %), but got {self.accuracy:g}."
            )

    def __str__(self) -> str:
        """The spelling that `parse_claim` reads."""
        return f"{self.accuracy!r}@{self.threat}"


def parse_claim(text: str) -> Claim:
    """Read a claim as the command line spells it: a share, as a number or in percent, `@` and one threat.

    >>> parse_claim("41%@linf:8/255")
    Claim(accuracy=0.41, threat=Linf(radius=0.03137254901960784, bounds=(0.0, 1.0)))

    Raises:
        SettingError: it has another form, the share is not in (0, 1], or the threat is none or several.
    """
    share, at, threat = text.partition("@")
    share = share.strip()
    try:
        accuracy = float(share.removesuffix("%"))
    except ValueError:
        accuracy = float("nan")
    if not at or accuracy != accuracy:
        raise SettingError(f"Expected a claim such as 0.41@linf:8/255 or 41%@l2:0.5, but got {text!r}.")
    threats = parse(threat)
    if len(threats) != 1:
        raise SettingError(f"Expected one radius in a claim, but got {threat!r} in {text!r}; claim one at a time.")
    return Claim(accuracy / 100 if share.endswith("%") else accuracy, threats[0])


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about a claim.

    Attributes:
        word: *refuted*: the interval of what attacks left standing ends below the claim. Every adversarial
            input is a proof, whatever alarms ring; sampling alone stands between these images and all others.
            *proved*: the interval of what certificates hold for begins at or above the claim.
            *not to be trusted*: neither, and alarms ring that nothing answered.
            *undecided*: the interval reaches from below the claim to above it.
            *not refuted*: the interval begins at or above the claim; that these attacks failed proves nothing.
        claim: what was claimed.
        accuracy: the share of images still standing, an upper bound of their robust accuracy.
        interval: its Wilson interval at 95 %.
        images: how many were attacked.
        alarms: the names of those that ring and were not answered.
        evidence: the reason, in sentences.
        certified: the Wilson interval of the certified share, where there are certificates.
    """

    word: Word
    claim: Claim
    accuracy: float
    interval: Interval
    images: int
    alarms: tuple[str, ...]
    evidence: str
    certified: Interval | None = None

    @property
    def exit_status(self) -> int:
        """For scripts: 0 not refuted or proved, 1 refuted, 3 not to be trusted, 4 undecided (2: an error)."""
        return EXIT_STATUSES[self.word]

    def as_json(self) -> dict[str, Any]:
        """Everything above, and the exit status."""
        return {
            "verdict": self.word,
            "claim": str(self.claim),
            "bounds": self.claim.threat.bounds,
            "accuracy": self.accuracy,
            "interval": self.interval,
            "images": self.images,
            "certified": self.certified,
            "alarms": self.alarms,
            "evidence": self.evidence,
            "exit_status": self.exit_status,
        }


def judge(
    claim: Claim,
    standing: Bool[np.ndarray, " images"],
    *,
    ringing: Sequence[str] = (),
    certified: Bool[np.ndarray, " images"] | None = None,
) -> Verdict:
    """Give the verdict on a claim; a refutation outweighs a certificate, and a certificate outweighs alarms.

    >>> judge(parse_claim("0.41@linf:8/255"), np.arange(1000) < 300, ringing=["vanishing gradients"]).word
    'refuted'

    Args:
        claim: what was claimed.
        standing: for every image, whether it is answered rightly and no attack within the threat broke it.
        ringing: the names of alarms that ring and that nothing has answered.
        certified: for every image, whether a certificate holds for it within the threat.

    Raises:
        SettingError: no image, certificates for other images, or an image that is certified and yet broken.
    """
    _check(standing, certified)
    images = len(standing)
    interval = wilson(int(standing.sum()), images)
    certain = None if certified is None else wilson(int(certified.sum()), images)
    word: Word
    if interval.high < claim.accuracy:
        word = "refuted"
    elif certain is not None and certain.low >= claim.accuracy:
        word = "proved"
    elif ringing:
        word = "not to be trusted"
    elif interval.low < claim.accuracy:
        word = "undecided"
    else:
        word = "not refuted"
    return Verdict(
        word=word,
        claim=claim,
        accuracy=float(standing.mean()),
        interval=interval,
        images=images,
        alarms=tuple(ringing),
        evidence=_evidence(word, claim, standing, ringing, certified),
        certified=certain,
    )


def _check(standing: Bool[np.ndarray, " images"], certified: Bool[np.ndarray, " images"] | None) -> None:
    if len(standing) == 0:
        raise SettingError("Expected at least one image to judge a claim by, but got none.")
    if certified is None:
        return
    if certified.shape != standing.shape:
        raise SettingError(f"Expected a certificate or none for each of {len(standing)} images, got {len(certified)}.")
    contradicting = np.flatnonzero(certified & ~standing)
    if len(contradicting):
        raise SettingError(
            f"Image {contradicting[0]} is certified and yet answered wrongly within the threat ({len(contradicting)} "
            "such images): the certificate does not hold for this model and threat."
        )


def _evidence(
    word: Word,
    claim: Claim,
    standing: Bool[np.ndarray, " images"],
    ringing: Sequence[str],
    certified: Bool[np.ndarray, " images"] | None,
) -> str:
    claimed = f"the claimed {100 * claim.accuracy:g} %"
    left = f"The attacks left {_share(standing, claim.accuracy)} standing at {claim.threat}"
    if word == "refuted":
        return (
            f"{left}: the whole interval lies below {claimed}. For these images that is a proof, whatever alarms ring; "
            "the interval is for others like them."
        )
    if word == "proved" and certified is not None:
        held = _share(certified, claim.accuracy)
        return f"Certificates hold for {held} at {claim.threat}, at or above {claimed}: no attack undoes it."
    if word == "not to be trusted":
        return (
            f"{left}, which does not refute {claimed}; but alarms ring that nothing answered: {', '.join(ringing)}. "
            "The attacks may have failed for want of gradients, so that this figure cannot be relied on."
        )
    if word == "undecided":
        side = "below" if standing.mean() < claim.accuracy else "not below"
        return (
            f"{left}: the interval holds {claimed}. These images alone are {side} it; more of them are needed to tell "
            "for all, how many `retemper evaluate --plan` says."
        )
    return f"{left}: the interval begins at or above {claimed}. An attack that fails proves nothing."


def _share(images: Bool[np.ndarray, " images"], claimed: float) -> str:
    interval = wilson(int(images.sum()), len(images))
    low, high = (_on_its_side(end, claimed) for end in interval)
    return f"{images.sum():,} of {len(images):,} images ({100 * images.mean():.1f} %, 95 % interval {low}-{high} %)"


def _on_its_side(end: float, claimed: float) -> str:
    """In per cent, with as many digits as it takes to lie on the same side of the claim as unrounded."""
    shown = [f"{100 * end:.{digits}f}" for digits in range(1, 12)]
    return next((one for one in shown if (float(one) < round(100 * claimed, 9)) == (end < claimed)), shown[-1])
