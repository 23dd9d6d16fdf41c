"""Alarms: signs that attacks failed for reasons other than a model's robustness, and their answers."""

from retemper.evaluation.alarms.alarm import Alarm
from retemper.evaluation.alarms.answered import answered
from retemper.evaluation.alarms.answers import Answer, answers
from retemper.evaluation.alarms.sound import sound

__all__ = ["Alarm", "Answer", "answered", "answers", "sound"]
