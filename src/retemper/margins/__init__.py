"""Linear classifiers by their margin: differential training, what cross-entropy converges to, and the SVM."""

from typing import TYPE_CHECKING, Any

from retemper.margins.cross_entropy import fit_cross_entropy
from retemper.margins.fit import fit_margin
from retemper.margins.last_layer import fit_last_layer
from retemper.margins.linear import LinearMargin
from retemper.margins.svm import cross_entropy_limit, hard_margin_svm

if TYPE_CHECKING:
    from retemper.margins.classifier import DifferentialClassifier

__all__ = [
    "DifferentialClassifier",
    "LinearMargin",
    "cross_entropy_limit",
    "fit_cross_entropy",
    "fit_last_layer",
    "fit_margin",
    "hard_margin_svm",
]


def __getattr__(name: str) -> Any:
    # Its base classes need scikit-learn, which takes longer to import than all the rest.
    if name != "DifferentialClassifier":
        raise AttributeError(f"module 'retemper.margins' has no attribute {name!r}")
    from retemper.margins.classifier import DifferentialClassifier

    return DifferentialClassifier
