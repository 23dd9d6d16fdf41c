"""What a layer keeps and loses: entropy measures, effective rank, and the profile of a network."""

from retemper.information.margin import margin
from retemper.information.measures import MEASURES, Measure
from retemper.information.profile import LayerProfile, profile
from retemper.information.rank import effective_rank
from retemper.information.spectrum import Spectrum, spectrum

__all__ = [
    "MEASURES",
    "LayerProfile",
    "Measure",
    "Spectrum",
    "effective_rank",
    "margin",
    "profile",
    "spectrum",
]
