"""What a layer keeps and loses: entropy measures, effective rank, and the profile of a network."""

from retemper.information.measures import MEASURES, Measure
from retemper.information.profile import LayerProfile, profile
from retemper.information.rank import effective_rank

__all__ = ["MEASURES", "LayerProfile", "Measure", "effective_rank", "profile"]
