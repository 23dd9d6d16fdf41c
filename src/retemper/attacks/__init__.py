"""Attacks: pure functions from a model, inputs, labels and a threat to adversarial inputs."""

from retemper.attacks.apgd import apgd
from retemper.attacks.deepfool import deepfool
from retemper.attacks.fab import fab
from retemper.attacks.fmn import fmn
from retemper.attacks.losses import LOSSES
from retemper.attacks.pgd import pgd
from retemper.attacks.square import square
from retemper.attacks.square_start import apgd_from_square
from retemper.attacks.targeted import apgd_targeted
from retemper.attacks.transfer import transfer

__all__ = ["LOSSES", "apgd", "apgd_from_square", "apgd_targeted", "deepfool", "fab", "fmn", "pgd", "square", "transfer"]
