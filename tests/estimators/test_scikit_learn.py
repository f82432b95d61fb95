"""The estimators within scikit-learn: its own checks, its searches and pipelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import trainlib as tl

Regressor, Classifier = tl.estimators.TrainlibRegressor, tl.estimators.TrainlibClassifier
FLOAT64 = tl.ExperimentConfig(execution="graph", precision="float64")
"""float64, since one check compares fits to 1e-7, and a graph, which takes no time to compile."""
WITHOUT_FITS = (
    *("check_do_not_raise_errors_in_init_or_set_params", "check_estimators_unfitted"),
    *("check_estimator_tags_renamed", "check_get_params_invariance", "check_mixin_order"),
    *("check_no_attributes_set_in_init", "check_parameters_default_constructible"),
    *("check_set_params", "check_valid_tag_types", "check_estimator_cloneable"),
    *("check_fit1d", "check_estimators_nan_inf", "check_complex_data", "check_requires_y_none"),
    *("check_estimators_empty_data_messages", "check_estimator_sparse_array"),
    *("check_supervised_y_no_nan", "check_classifiers_regression_target"),
)
"""The checks that train nothing, or next to nothing."""


def checked(estimator):
    """Return an estimator as the checks take it: all examples in one batch, few epochs."""
    return estimator(hidden=(8,), epochs=8, learning_rate=0.05, batch_size=64, config=FLOAT64)


def name_of(check):
    """Return the name of a check, which may be a partial function."""
    return getattr(check, "func", check).__name__


@pytest.mark.parametrize("estimator", [Regressor, Classifier])
def test_the_checks_that_train_nothing_pass(estimator):
    found = {name_of(c): (e, c) for e, c in estimator_checks_generator(checked(estimator))}
    names = [name for name in WITHOUT_FITS if name in found]
    assert len(names) >= len(WITHOUT_FITS) - 2  # two are for one kind of estimators
    for name in names:
        of, check = found[name]
        check(of)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [Regressor, Classifier])
def test_all_checks_of_scikit_learn_pass_without_expected_failures(estimator):
    results = check_estimator(checked(estimator), on_fail=None, on_skip=None)
    assert len(results) > 50
    assert [x["check_name"] for x in results if x["status"] not in ("passed", "skipped")] == []
    skipped = {x["check_name"] for x in results if x["status"] == "skipped"}
    assert skipped <= {
        "check_array_api_input",  # needs SCIPY_ARRAY_API
        "check_classifiers_multilabel_output_format_decision_function",
    }


@pytest.fixture(scope="module")
def numbers():
    """Return a table of numbers and its targets."""
    x, y = make_regression(96, 4, noise=1.0, random_state=0)
    return x, y / y.std()


def small(estimator, **params):
    """Return a small estimator that needs no compiler."""
    graph = tl.ExperimentConfig(execution="graph")
    settings = {"hidden": (8,), "epochs": 3, "config": graph, "random_state": 0}
    return estimator(**{**settings, **params})


@pytest.mark.soak
def test_a_randomized_search_finds_the_better_learning_rate(numbers):
    grid = {"learning_rate": [1e-6, 0.05], "optimizer__beta_1": [0.9]}
    search = RandomizedSearchCV(small(Regressor), grid, n_iter=2, cv=2, random_state=0)
    search.fit(*numbers)
    assert search.best_params_ == {"learning_rate": 0.05, "optimizer__beta_1": 0.9}
    assert search.best_estimator_.optimizer.hyperparameters == {"beta_1": 0.9}
    assert search.predict(numbers[0]).shape == (96,)


@pytest.mark.soak
def test_a_grid_search_in_two_processes_equals_one_in_this(numbers):
    grid = {"learning_rate": [1e-6, 0.05]}
    serial, parallel = (
        GridSearchCV(small(Regressor), grid, cv=2, n_jobs=jobs).fit(*numbers) for jobs in (1, 2)
    )
    scores = [x.cv_results_["mean_test_score"] for x in (serial, parallel)]
    np.testing.assert_array_equal(*scores)
    assert serial.best_params_ == {"learning_rate": 0.05}


@pytest.mark.soak
def test_a_pipeline_takes_a_table_with_text():
    color = np.tile(["red", "green", "blue"], 40)
    size = np.random.default_rng(0).normal(size=120)
    table = pd.DataFrame({"color": color, "size": size})
    columns = ColumnTransformer(
        [
            ("color", OneHotEncoder(sparse_output=False), ["color"]),
            ("size", StandardScaler(), ["size"]),
        ]
    )
    classifier = small(Classifier, epochs=20, learning_rate=0.05)
    pipeline = make_pipeline(columns, classifier).fit(table, color == "red")
    assert pipeline.score(table, color == "red") == 1.0
    scores = cross_val_score(pipeline, table, color == "red", cv=2)
    assert scores.min() > 0.9


@pytest.mark.soak
def test_probabilities_can_be_calibrated():
    x, y = make_classification(90, 4, random_state=0)
    calibrated = CalibratedClassifierCV(small(Classifier), cv=2, ensemble=False).fit(x, y)
    assert calibrated.predict_proba(x).shape == (90, 2)


def test_a_table_of_pandas_gives_its_names(numbers):
    table = pd.DataFrame(numbers[0], columns=list("abcd"))
    fitted = small(Regressor).fit(table, numbers[1])
    assert fitted.feature_names_in_.tolist() == list("abcd") and fitted.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table[list("dcba")])


def test_a_clone_has_the_parameters_and_is_not_fitted(numbers):
    fitted = small(Regressor, optimizer=tl.config("sgd", momentum=0.9)).fit(*numbers)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy.get_params()["optimizer__momentum"] == 0.9
    assert not hasattr(copy, "n_iter_")


def test_sparse_inputs_are_refused(numbers):
    with pytest.raises(TypeError, match=r"dense data is required.*toarray"):
        small(Regressor).fit(csr_array(numbers[0]), numbers[1])
