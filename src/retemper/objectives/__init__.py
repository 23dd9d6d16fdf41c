"""Training objectives: terms that add up over one shared forward pass, and wrappers that move the inputs first."""

from retemper.objectives.activation_entropy import ActivationEntropy
from retemper.objectives.adversarial_training import AdversarialTraining
from retemper.objectives.base import Loss, Objective, Term, WeightedSum
from retemper.objectives.biases import fit_biases
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.objectives.curvature import Curvature
from retemper.objectives.differential import Differential
from retemper.objectives.fgsm_training import FGSMTraining
from retemper.objectives.forward import ForwardPass
from retemper.objectives.guided_complement_entropy import GuidedComplementEntropy
from retemper.objectives.hsic_bottleneck import HSICBottleneck
from retemper.objectives.input_gradient import InputGradient
from retemper.objectives.interval_bounds import IntervalBounds
from retemper.objectives.jacobian import Jacobian
from retemper.objectives.label_smoothing import LabelSmoothing
from retemper.objectives.linearised_loss import LinearisedLoss
from retemper.objectives.logit_squeezing import LogitSqueezing
from retemper.objectives.mimic import Mimic
from retemper.objectives.one_of import OneOf
from retemper.objectives.pairs import pair_loss
from retemper.objectives.pgd_training import PGDTraining
from retemper.objectives.presets import (
    PRESETS,
    Preset,
    differential_training,
    entropic_retraining,
    mimicking,
    preset,
    recipe_or_jacobian,
)
from retemper.objectives.recipe import recipe
from retemper.objectives.spec import as_spec, from_spec
from retemper.objectives.trades import TRADES
from retemper.objectives.warm_up import WarmUp

__all__ = [
    "PRESETS",
    "TRADES",
    "ActivationEntropy",
    "AdversarialTraining",
    "CrossEntropy",
    "Curvature",
    "Differential",
    "FGSMTraining",
    "ForwardPass",
    "GuidedComplementEntropy",
    "HSICBottleneck",
    "InputGradient",
    "IntervalBounds",
    "Jacobian",
    "LabelSmoothing",
    "LinearisedLoss",
    "LogitSqueezing",
    "Loss",
    "Mimic",
    "Objective",
    "OneOf",
    "PGDTraining",
    "Preset",
    "Term",
    "WarmUp",
    "WeightedSum",
    "as_spec",
    "differential_training",
    "entropic_retraining",
    "fit_biases",
    "from_spec",
    "mimicking",
    "pair_loss",
    "preset",
    "recipe",
    "recipe_or_jacobian",
]
