"""What a layer keeps and loses: entropy measures, effective rank, the profile of a network and of two."""

from retemper.information.difference import LayerDifference, changes, difference
from retemper.information.layer_profile import QUANTITIES, LayerProfile
from retemper.information.margin import margin
from retemper.information.measures import MEASURES, Measure
from retemper.information.profile import profile
from retemper.information.rank import effective_rank
from retemper.information.spectrum import Spectrum, spectrum

__all__ = [
    "MEASURES",
    "QUANTITIES",
    "LayerDifference",
    "LayerProfile",
    "Measure",
    "Spectrum",
    "changes",
    "difference",
    "effective_rank",
    "margin",
    "profile",
    "spectrum",
]
