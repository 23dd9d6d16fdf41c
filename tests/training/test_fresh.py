from pathlib import Path

import pytest
import torch
from torch import nn

from retemper.data import Data
from retemper.errors import ModelError, SettingError
from retemper.models.hashing import weights_hash
from retemper.training import check_fit, fresh


def test_the_seed_decides_the_weights_and_nothing_else_moves(digits: Data) -> None:
    before = torch.get_rng_state()
    hashes = [weights_hash(fresh("mlp", digits, seed=seed)) for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_that_cannot_be_is_an_error(digits: Data) -> None:
    with pytest.raises(SettingError, match="`seed`"):
        fresh("mlp", digits, seed=2**64)


def test_it_fits_the_data_and_normalises_them(digits: Data) -> None:
    model = fresh("small-cnn", digits, activation="silu")
    check_fit(model, digits)
    normalised = model.normalise(digits.train.batch(slice(None))[0])
    assert abs(float(normalised.mean())) < 1e-4
    assert float(normalised.std()) == pytest.approx(1, abs=1e-3)
    assert isinstance(model.conv1_act, torch.nn.SiLU)


def test_a_users_own_network_is_built_as_it_is(digits: Data) -> None:
    assert isinstance(fresh("torch.nn:Flatten", digits), torch.nn.Flatten)
    with pytest.raises(SettingError, match=r"no activation beside the factory torch\.nn:Flatten"):
        fresh("torch.nn:Flatten", digits, activation="silu")
    with pytest.raises(ModelError, match="nonesuch"):
        fresh("nonesuch:network", digits)


LAZY = """
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear({classes}))
"""


def test_the_seed_decides_lazy_weights_too(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for classes in (3, 10):
        (tmp_path / f"lazy{classes}.py").write_text(LAZY.format(classes=classes))
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    one, again, other = (fresh("lazy10:network", digits, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_hash(one) == weights_hash(again) != weights_hash(other)
    normalisation = one.get_submodule("2")
    assert isinstance(normalisation, nn.BatchNorm1d)
    assert normalisation.num_batches_tracked == 0  # nothing but the weights is made
    assert one.training
    with pytest.raises(ModelError, match="returns 3 logits, but digits has 10"):
        fresh("lazy3:network", digits)


def test_no_generator_of_an_accelerator_is_touched(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _seed: pytest.fail("seeded every GPU"))
    fresh("mlp", digits, seed=3)
