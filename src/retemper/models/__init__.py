"""The papers' networks and a few standard ones, loading a user's own, and what every model must give: logits."""

from retemper.models.inference import accuracy, evaluation_mode, logits, predict
from retemper.models.networks import ACTIVATIONS, NETWORKS, Network, create
from retemper.models.normalise import Normalise
from retemper.models.smooth import smooth
from retemper.models.storage import from_factory, load, read_facts, save

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "Network",
    "Normalise",
    "accuracy",
    "create",
    "evaluation_mode",
    "from_factory",
    "load",
    "logits",
    "predict",
    "read_facts",
    "save",
    "smooth",
]
