"""Differential training with scikit-learn's face."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper.errors import DataError
from retemper.margins.fit import fit_margin


class DifferentialClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A linear classifier by differential training: `fit_margin` as a scikit-learn estimator, in float64.

    On two classes that a hyperplane separates it is the hard-margin SVM, without an SVM's dual problem.

    Args:
        tolerance: the share of the margin that may be missing.

    Attributes:
        coef_: of shape (1, features) for two classes, (classes, features) for more.
        intercept_: one a row of `coef_`.
        classes_: the labels, sorted.
        margin_: the smallest distance of a training point to the boundary of its class; negative where one is on
            the wrong side.
        n_features_in_: how many features.
        n_iter_: steps taken.
    """

    def __init__(self, tolerance: float = 1e-6) -> None:
        self.tolerance = tolerance

    def fit(self, X: Any, y: Any) -> "DifferentialClassifier":  # noqa: N803 - scikit-learn's name
        """Fit to features X of shape (samples, features) and labels y of any kind.

        Raises:
            DataError: y has one class only.
            ValueError: X or y is not what scikit-learn takes.
        """
        features, labels = validate_data(self, X, y, dtype=np.float64, order="C")  # torch takes no reversed ones
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"Expected labels of two classes or more, but got one class: {self.classes_[0]!r}.")
        found = fit_margin(torch.tensor(features), torch.tensor(numbers), tolerance=self.tolerance)
        self.coef_, self.intercept_ = found.weight.numpy(), found.bias.numpy()
        self.margin_, self.n_iter_ = found.margin, max(found.steps, 1)
        return self

    def decision_function(self, X: Any) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":  # noqa: N803
        """The scores: of the second class against the first, of shape (samples,), or one a class."""
        check_is_fitted(self)
        scores = validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> "np.ndarray[tuple[int], np.dtype[Any]]":  # noqa: N803
        """The class of each row of X."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]
