"""Retraining: on any objective, or on the recipe; a short loop on Hugging Face Accelerate."""

from retemper.training.fit import check_fit
from retemper.training.fresh import fresh
from retemper.training.optimisers import OPTIMISERS, SCHEDULES
from retemper.training.results import Training
from retemper.training.retrain import retrain
from retemper.training.settings import Settings
from retemper.training.stopping import Stopping

__all__ = ["OPTIMISERS", "SCHEDULES", "Settings", "Stopping", "Training", "check_fit", "fresh", "retrain"]
