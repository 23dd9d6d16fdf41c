import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Data
from retemper.errors import BudgetError, CheckpointError, ModelError
from retemper.models import Network, accuracy, create, load, smooth
from retemper.models.hashing import weights_hash
from retemper.models.storage import read_facts
from retemper.objectives import CrossEntropy, ForwardPass, WeightedSum, as_spec, recipe
from retemper.threats import Linf, Threat
from retemper.training import budget, retrain
from retemper.training.budget import least_clean

SETTINGS = {"epochs": 2, "batch_size": 128, "progress": False}


@pytest.fixture(scope="module")
def plain(digits: Data) -> Network:
    torch.manual_seed(0)
    model = create("mlp", shape=digits.shape, classes=10)
    retrain(model, digits, CrossEntropy(), epochs=5, batch_size=64, progress=False)
    return model


@pytest.fixture
def trained(plain: Network) -> Network:
    return copy.deepcopy(plain)


def ruinous(_threat: Threat, weight: float) -> WeightedSum:
    """In place of the recipe: at weights 1 and 1/2 it unlearns, at 1/4 and 1/8 it learns."""
    return (0.4 - weight) * CrossEntropy()


@pytest.fixture
def _ruin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "recipe", ruinous)


def clean(model: nn.Module, data: Data) -> float:
    return accuracy(model, data.validation.batches(100))


def test_weight_1_is_kept_where_it_holds(trained: Network, digits: Data) -> None:
    by_hand = copy.deepcopy(trained)
    training = retrain(trained, digits, threat=Linf(0.1), give_up=1.0, **SETTINGS)
    expected = retrain(by_hand, digits, recipe(Linf(0.1)), **SETTINGS)
    assert weights_hash(trained) == weights_hash(by_hand)
    assert training.identity == expected.identity | {"give_up": 1.0}
    assert [row["loss"] for row in training.history] == [row["loss"] for row in expected.history]


@pytest.mark.usefixtures("_ruin")
@pytest.mark.parametrize("smoothed", [False, True])
def test_the_first_weight_that_holds_is_kept_each_from_the_same_start(
    trained: Network, digits: Data, tmp_path: Path, smoothed: bool
) -> None:
    by_hand = copy.deepcopy(trained)
    training = retrain(trained, digits, give_up=0.1, smooth=smoothed, out=tmp_path, **SETTINGS)
    expected = retrain(by_hand, digits, ruinous(Linf(0.1), 0.25), smooth=smoothed, **SETTINGS)
    assert weights_hash(trained) == weights_hash(by_hand)
    assert training.identity["objective"] == expected.identity["objective"]
    assert type(trained.dense1_act) is type(by_hand.dense1_act)
    inputs, _ = digits.test.batch(slice(0, 9))
    assert torch.equal(trained.eval()(inputs), by_hand.eval()(inputs))
    assert torch.equal(load(tmp_path / "model.safetensors")(inputs), trained(inputs))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history.csv",
        "model.safetensors",
        "training.json",
        "weight 0.25",
        "weight 0.5",
        "weight 1",
    ]
    written = json.loads((tmp_path / "training.json").read_text())
    assert written == {"identity": training.identity, "history": training.history}
    assert read_facts(tmp_path / "model.safetensors")["objective"] == as_spec(ruinous(Linf(0.1), 0.25))


@pytest.mark.usefixtures("_ruin")
def test_buffers_that_are_not_saved_are_those_of_the_weight_that_is_kept(centring: nn.Module, digits: Data) -> None:
    retrain(centring, digits, CrossEntropy(), epochs=20, batch_size=64, learning_rate=0.01, progress=False)
    by_hand, settings = copy.deepcopy(centring), {**SETTINGS, "learning_rate": 0.1}
    training = retrain(centring, digits, give_up=0.2, **settings)
    retrain(by_hand, digits, ruinous(Linf(0.1), 0.25), **settings)
    assert training.identity["objective"] == repr(ruinous(Linf(0.1), 0.25))
    assert weights_hash(centring) == weights_hash(by_hand)
    assert clean(centring, digits) == training.chosen["validation_accuracy"]


@pytest.mark.usefixtures("_ruin")
def test_where_none_holds_the_model_is_as_it_was_and_the_error_has_the_figures(
    trained: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "WEIGHTS", (1.0, 0.5))
    weights, modes = weights_hash(trained), [module.training for module in trained.modules()]
    layers = dict(trained.named_modules())
    before = clean(trained, digits)
    with pytest.raises(BudgetError) as error:
        retrain(trained, digits, give_up=0.02, smooth=True, out=tmp_path, **SETTINGS)
    assert weights_hash(trained) == weights
    assert dict(trained.named_modules()) == layers
    assert [module.training for module in trained.modules()] == modes
    assert trained.spec.activation == "relu"
    said = str(error.value)
    assert f"at least {before - 0.02:.1%} on validation images, 2.0% less than the {before:.1%} before" in said
    for weight in (1, 0.5):
        reached = json.loads((tmp_path / f"weight {weight:g}" / "training.json").read_text())["history"][-1]
        assert f"{reached['validation_accuracy']:.1%} at weight {weight:g}" in said
    assert "Give up more" in said
    assert not (tmp_path / "model.safetensors").exists()
    # What was trained stays, and a larger budget is met from it at once.
    monkeypatch.setattr("retemper.training.run.train_epoch", lambda *_args, **_options: pytest.fail("trained"))
    retrain(trained, digits, give_up=1.0, smooth=True, out=tmp_path, **SETTINGS)
    assert weights_hash(trained) == weights_hash(load(tmp_path / "weight 1" / "model.safetensors"))


@pytest.mark.parametrize("images", [50, 500, 1000, 5000])
def test_the_least_clean_accuracy_is_one_of_whole_images_whatever_rounds(images: int) -> None:
    for give_up in (0.01, 0.02, 0.05, 0.1):
        lost = round(give_up * images)
        if lost == give_up * images:
            for right in range(lost, images + 1):
                least = least_clean(right / images, give_up)
                assert (right - lost) / images >= least
                assert (right - lost - 1) / images < least


@pytest.mark.usefixtures("_ruin")
def test_a_loss_of_exactly_the_budget_is_within_it(trained: Network, digits: Data) -> None:
    before = clean(trained, digits)
    reached = copy.deepcopy(trained)
    retrain(reached, digits, ruinous(Linf(0.1), 1.0), **SETTINGS)
    lost = before - clean(reached, digits)
    assert lost > 0.2
    training = retrain(copy.deepcopy(trained), digits, give_up=lost, **SETTINGS)
    assert training.identity["objective"] == repr(ruinous(Linf(0.1), 1.0))
    less = lost - 0.5 / len(digits.validation)
    training = retrain(trained, digits, give_up=less, **SETTINGS)
    assert training.identity["objective"] != repr(ruinous(Linf(0.1), 1.0))


@pytest.mark.usefixtures("_ruin")
@pytest.mark.parametrize("killed_in", [1, 2])
def test_a_killed_run_goes_on_to_the_same_weights(
    trained: Network,
    digits: Data,
    tmp_path: Path,
    killed_after: Callable[[int], AbstractContextManager[None]],
    killed_in: int,
) -> None:
    whole, again = copy.deepcopy(trained), copy.deepcopy(trained)
    asked = {"give_up": 0.1, "smooth": True, **SETTINGS}
    expected = retrain(whole, digits, **asked)
    before = weights_hash(trained)
    with killed_after(killed_in):
        retrain(trained, digits, out=tmp_path, **asked)
    assert weights_hash(trained) == before
    training = retrain(again, digits, out=tmp_path, **asked)
    assert weights_hash(again) == weights_hash(whole)
    assert training.identity == expected.identity


@pytest.mark.usefixtures("_ruin")
def test_a_finished_run_is_loaded_and_never_mistaken_for_another(
    trained: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = copy.deepcopy(trained)
    retrain(trained, digits, give_up=0.1, out=tmp_path, **SETTINGS)
    monkeypatch.setattr("retemper.training.run.train_epoch", lambda *_args, **_options: pytest.fail("trained"))
    again = copy.deepcopy(start)
    retrain(again, digits, give_up=0.1, out=tmp_path, **SETTINGS)
    assert weights_hash(again) == weights_hash(trained)
    with pytest.raises(CheckpointError, match="differs in give_up"):
        retrain(copy.deepcopy(start), digits, give_up=0.2, out=tmp_path, **SETTINGS)
    with pytest.raises(CheckpointError, match="differs in settings"):
        retrain(copy.deepcopy(start), digits, give_up=0.1, out=tmp_path, **{**SETTINGS, "epochs": 3})
    with pytest.raises(CheckpointError, match="differs in give_up"):
        retrain(copy.deepcopy(start), digits, ruinous(Linf(0.1), 0.25), out=tmp_path, **SETTINGS)


def test_resume_false_starts_over(trained: Network, digits: Data, tmp_path: Path) -> None:
    start = copy.deepcopy(trained)
    retrain(trained, digits, give_up=0.5, out=tmp_path, **SETTINGS)
    training = retrain(start, digits, give_up=0.9, out=tmp_path, resume=False, **SETTINGS)
    assert training.identity["give_up"] == 0.9
    assert json.loads((tmp_path / "training.json").read_text())["identity"] == training.identity


class Explodes(CrossEntropy):
    def value(self, forward: ForwardPass) -> Tensor:
        return super().value(forward) * float("nan")


def test_a_weight_whose_loss_is_no_number_is_a_failed_try(
    trained: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(_threat: Threat, weight: float) -> WeightedSum:
        return 1.0 * (Explodes() if weight == 1 else CrossEntropy())

    monkeypatch.setattr(budget, "recipe", objective)
    training = retrain(trained, digits, give_up=0.1, **SETTINGS)
    assert training.identity["objective"] == repr(1.0 * CrossEntropy())
    monkeypatch.setattr(budget, "WEIGHTS", (1.0,))
    with pytest.raises(BudgetError, match="a loss that is no number at weight 1"):
        retrain(trained, digits, give_up=0.1, **SETTINGS)


def test_a_model_that_cannot_be_smooth_is_as_it_was(digits: Data) -> None:
    model = create("mlp", shape=digits.shape, classes=10, activation="tanh")
    before = weights_hash(model)
    with pytest.raises(ModelError, match="has none"):
        retrain(model, digits, give_up=0.1, smooth=True, **SETTINGS)
    assert weights_hash(model) == before


def test_the_budget_is_against_the_model_as_given_not_as_swapped(
    trained: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "WEIGHTS", (1.0,))
    monkeypatch.setattr(budget, "recipe", lambda _threat, _weight: 0.0 * CrossEntropy())
    before, swapped = clean(trained, digits), copy.deepcopy(trained)
    smooth(swapped)
    lost = before - clean(swapped, digits)
    assert lost > 0
    with pytest.raises(BudgetError, match=f"than the {before:.1%} before"):
        retrain(trained, digits, give_up=0.5 * lost, smooth=True, **SETTINGS)


def test_begun_anew_the_record_of_what_had_ended_goes_first(
    trained: Network, digits: Data, tmp_path: Path, killed_after: Callable[[int], AbstractContextManager[None]]
) -> None:
    start = copy.deepcopy(trained)
    retrain(copy.deepcopy(start), digits, give_up=0.5, out=tmp_path, **SETTINGS)
    with killed_after(1):
        retrain(copy.deepcopy(start), digits, give_up=0.4, out=tmp_path, resume=False, **SETTINGS)
    assert not (tmp_path / "training.json").exists()
    retrain(trained, digits, give_up=0.4, out=tmp_path, **SETTINGS)
    assert json.loads((tmp_path / "training.json").read_text())["identity"]["give_up"] == 0.4


@pytest.mark.usefixtures("_ruin")
def test_begun_anew_and_killed_it_goes_on_whatever_an_earlier_one_tried(
    trained: Network, digits: Data, tmp_path: Path, killed_after: Callable[[int], AbstractContextManager[None]]
) -> None:
    start, longer = copy.deepcopy(trained), SETTINGS | {"epochs": 3}
    retrain(copy.deepcopy(start), digits, give_up=0.1, out=tmp_path / "run", **SETTINGS)
    assert {path.name for path in (tmp_path / "run").glob("weight *")} == {"weight 1", "weight 0.5", "weight 0.25"}
    with killed_after(2):
        retrain(copy.deepcopy(start), digits, give_up=0.1, out=tmp_path / "run", resume=False, **longer)
    retrain(trained, digits, give_up=0.1, out=tmp_path / "run", **longer)
    retrain(start, digits, give_up=0.1, **longer)
    assert weights_hash(trained) == weights_hash(start)


def test_begun_anew_where_a_training_was_it_goes_on_however_early_it_was_killed(
    trained: Network, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = copy.deepcopy(trained)
    retrain(copy.deepcopy(start), digits, CrossEntropy(), out=tmp_path, **SETTINGS)

    def killed(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(budget, "accuracy", killed)
        with pytest.raises(KeyboardInterrupt):
            retrain(copy.deepcopy(start), digits, give_up=0.9, out=tmp_path, resume=False, **SETTINGS)
    assert retrain(start, digits, give_up=0.9, out=tmp_path, **SETTINGS).identity["give_up"] == 0.9


def test_a_weight_whose_last_step_diverges_is_a_failed_try(
    trained: Network, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_smallest(_threat: Threat, weight: float) -> WeightedSum:
        return (1e30 if weight > 1 / 8 else 1.0) * CrossEntropy()

    monkeypatch.setattr(budget, "recipe", only_the_smallest)
    settings = {"epochs": 1, "batch_size": 2000, "optimiser": "sgd", "learning_rate": 1e-3, "progress": False}
    training = retrain(trained, digits, threat=Linf(0.1), give_up=0.5, **settings)
    assert training.identity["objective"] == repr(1.0 * CrossEntropy())
