"""Attacks: pure functions from a model, inputs, labels and a threat to adversarial inputs."""

from retemper.attacks.apgd import apgd
from retemper.attacks.losses import LOSSES
from retemper.attacks.pgd import pgd

__all__ = ["LOSSES", "apgd", "pgd"]
