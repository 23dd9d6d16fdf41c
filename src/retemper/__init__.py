"""Robust PyTorch classifiers without adversarial examples, and an honest measure of whether it worked."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.activations import record
    from retemper.certification import certify
    from retemper.comparison import Comparison, compare
    from retemper.data import Data, Split, load
    from retemper.evaluation import evaluate, plan
    from retemper.information import profile
    from retemper.margins import DifferentialClassifier, fit_margin
    from retemper.models import create
    from retemper.objectives import (
        TRADES,
        ActivationEntropy,
        CrossEntropy,
        Curvature,
        Differential,
        FGSMTraining,
        GuidedComplementEntropy,
        HSICBottleneck,
        InputGradient,
        IntervalBounds,
        Jacobian,
        LabelSmoothing,
        LinearisedLoss,
        LogitSqueezing,
        Mimic,
        OneOf,
        PGDTraining,
        WarmUp,
        differential_training,
        entropic_retraining,
        fit_biases,
        recipe,
        recipe_or_jacobian,
    )
    from retemper.threats import L2, Linf
    from retemper.training import retrain
    from retemper.tuning import early_stopping, tune

# Where each public name lives: it is imported at its first use, so that `import retemper` stays quick.
_HOMES = {
    "ActivationEntropy": "objectives",
    "Comparison": "comparison",
    "CrossEntropy": "objectives",
    "Curvature": "objectives",
    "Data": "data",
    "Differential": "objectives",
    "DifferentialClassifier": "margins",
    "FGSMTraining": "objectives",
    "GuidedComplementEntropy": "objectives",
    "HSICBottleneck": "objectives",
    "InputGradient": "objectives",
    "IntervalBounds": "objectives",
    "Jacobian": "objectives",
    "L2": "threats",
    "LabelSmoothing": "objectives",
    "LinearisedLoss": "objectives",
    "Linf": "threats",
    "LogitSqueezing": "objectives",
    "Mimic": "objectives",
    "OneOf": "objectives",
    "PGDTraining": "objectives",
    "Split": "data",
    "TRADES": "objectives",
    "WarmUp": "objectives",
    "certify": "certification",
    "compare": "comparison",
    "create": "models",
    "differential_training": "objectives",
    "early_stopping": "tuning",
    "entropic_retraining": "objectives",
    "evaluate": "evaluation",
    "fit_biases": "objectives",
    "fit_margin": "margins",
    "load": "data",
    "plan": "evaluation",
    "profile": "information",
    "recipe": "objectives",
    "recipe_or_jacobian": "objectives",
    "record": "activations",
    "retrain": "training",
    "tune": "tuning",
}

__all__ = [
    "L2",
    "TRADES",
    "ActivationEntropy",
    "Comparison",
    "CrossEntropy",
    "Curvature",
    "Data",
    "Differential",
    "DifferentialClassifier",
    "FGSMTraining",
    "GuidedComplementEntropy",
    "HSICBottleneck",
    "InputGradient",
    "IntervalBounds",
    "Jacobian",
    "LabelSmoothing",
    "LinearisedLoss",
    "Linf",
    "LogitSqueezing",
    "Mimic",
    "OneOf",
    "PGDTraining",
    "Split",
    "WarmUp",
    "certify",
    "compare",
    "create",
    "differential_training",
    "early_stopping",
    "entropic_retraining",
    "evaluate",
    "fit_biases",
    "fit_margin",
    "load",
    "plan",
    "profile",
    "recipe",
    "recipe_or_jacobian",
    "record",
    "retrain",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in {*_HOMES.values(), "attacks"}:
        return import_module(f"retemper.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'retemper' has no attribute {name!r}")
    return getattr(import_module(f"retemper.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
