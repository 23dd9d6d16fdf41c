import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from retemper.errors import DataError
from retemper.margins import DifferentialClassifier, fit_margin


def test_scikit_learn_finds_nothing_wrong() -> None:
    results = check_estimator(DifferentialClassifier(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert sum(result["status"] == "passed" for result in results) > 40


def test_it_is_fit_margin_with_names_for_the_classes() -> None:
    iris = load_iris()
    names = iris.target_names[iris.target]
    rows = names != "virginica"
    model = DifferentialClassifier().fit(iris.data[rows], names[rows])
    found = fit_margin(torch.tensor(iris.data[rows]), torch.tensor(iris.target[rows]))
    assert model.coef_ == pytest.approx(found.weight.numpy())
    assert model.intercept_ == pytest.approx(found.bias.numpy())
    assert model.margin_ == found.margin
    assert list(model.classes_) == ["setosa", "versicolor"]
    assert (model.predict(iris.data[rows]) == names[rows]).all()
    assert model.decision_function(iris.data[rows][:1])[0] < 0


def test_three_classes_in_a_pipeline() -> None:
    iris = load_iris()
    model = make_pipeline(StandardScaler(), DifferentialClassifier()).fit(iris.data, iris.target)
    assert model.decision_function(iris.data).shape == (150, 3)
    assert model.score(iris.data, iris.target) > 0.96


def test_one_class_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"one class: .*7"), warnings.catch_warnings():
        DifferentialClassifier().fit(np.eye(3), [7, 7, 7])


def test_views_of_arrays_are_taken() -> None:
    features, labels = load_iris(return_X_y=True)
    for seen, numbers in ((features[::-1], labels[::-1]), (features[:, ::-1], labels), (features[::2], labels[::2])):
        expected = DifferentialClassifier().fit(np.ascontiguousarray(seen), numbers.copy())
        assert np.array_equal(DifferentialClassifier().fit(seen, numbers).coef_, expected.coef_)
