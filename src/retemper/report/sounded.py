"""The alarms of an evaluation by name: each was sounded at every threat."""

from collections.abc import Sequence
from dataclasses import dataclass

from retemper.evaluation import Alarm, Robustness
from retemper.threats import Threat


@dataclass(frozen=True)
class Sounded:
    """One alarm at all the threats at which it was sounded.

    Attributes:
        name: of the alarm.
        at: what was seen, with the threats at which just that was seen.
    """

    name: str
    at: tuple[tuple[Alarm, tuple[Threat, ...]], ...]

    @property
    def ringing(self) -> tuple[tuple[Alarm, tuple[Threat, ...]], ...]:
        """Where it rings, answered or not."""
        return tuple((alarm, threats) for alarm, threats in self.at if alarm.rings)

    @property
    def unanswered(self) -> bool:
        """Whether nothing has answered it somewhere."""
        return any(not alarm.answered_by for alarm, _ in self.ringing)

    @property
    def answered_in_part(self) -> bool:
        """Whether it was answered somewhere, and not elsewhere."""
        return self.unanswered and any(alarm.answered_by for alarm, _ in self.ringing)


def sounded(robustness: Sequence[Robustness]) -> list[Sounded]:
    """Each alarm once: first those that ring unanswered, then those that were answered, then the quiet ones."""
    seen: dict[str, dict[Alarm, list[Threat]]] = {}
    for found in robustness:
        for alarm in found.alarms:
            seen.setdefault(alarm.name, {}).setdefault(alarm, []).append(found.threat)
    alarms = [
        Sounded(name, tuple((alarm, tuple(threats)) for alarm, threats in at.items())) for name, at in seen.items()
    ]
    return sorted(alarms, key=lambda alarm: (not alarm.unanswered, not alarm.ringing))


def tally(alarms: Sequence[Sounded]) -> str:
    """How many were sounded and how many ring, in a sentence."""
    ringing = [alarm for alarm in alarms if alarm.ringing]
    unanswered = sum(alarm.unanswered for alarm in ringing)
    in_part = sum(alarm.answered_in_part for alarm in ringing)
    if not alarms:
        return "No alarm was sounded: nothing says whether attacks failed for reasons other than robustness."
    count = f"{len(alarms)} alarm{'s' if len(alarms) > 1 else ''} sounded"
    if not ringing:
        return f"{count}, none rings."
    numbers = {
        "answered": len(ringing) - unanswered,
        "answered at some threats alone": in_part,
        "not": unanswered - in_part,
    }
    answers = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
    if not in_part and (not unanswered or unanswered == len(ringing)):
        answers = "none answered" if unanswered else "all answered"
    return f"{count}, {len(ringing)} ring{'s' if len(ringing) == 1 else ''}: {answers}."
