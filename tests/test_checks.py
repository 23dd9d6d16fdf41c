import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from retemper.checks import as_seed, at_least_one, in_0_to_1, is_a, is_number, plain
from retemper.errors import SettingError


def test_one_and_more_pass() -> None:
    at_least_one(steps=1, restarts=20)
    at_least_one()


@pytest.mark.parametrize(("numbers", "name", "number"), [((0, 5), "steps", 0), ((1, -3), "restarts", -3)])
def test_what_is_below_one_is_named(numbers: tuple[int, int], name: str, number: int) -> None:
    steps, restarts = numbers
    with pytest.raises(SettingError, match=re.escape(f"`{name}` to be 1 or more, but got {number}.")):
        at_least_one(steps=steps, restarts=restarts)


@pytest.mark.parametrize("number", [1.5, 2.0, "3", None])
def test_what_is_no_whole_number_is_named(number: Any) -> None:
    at_least_one(epochs=np.int64(3))
    with pytest.raises(
        SettingError, match=re.escape(f"`epochs` to be a whole number of 1 or more, but got {number!r}.")
    ):
        at_least_one(epochs=number)


def test_of_several_the_first_is_named() -> None:
    with pytest.raises(SettingError, match="`steps`"):
        at_least_one(steps=0, restarts=0)


def test_what_is_of_another_kind_is_named_with_a_hint() -> None:
    is_a(int, one=1, two=2)
    with pytest.raises(SettingError, match=r"`two` to be of int, but got str\.$"):
        is_a(int, one=1, two="2")
    with pytest.raises(SettingError, match=r"`model` to be of Module, but got the class Linear; call it\.$"):
        is_a(torch.nn.Module, "call it", model=torch.nn.Linear)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_share_is_named(share: float) -> None:
    in_0_to_1(give_up=0, warmup=1, kappa=0.5)
    with pytest.raises(SettingError, match=re.escape(f"`give_up` to be a share in [0, 1], but got {share}.")):
        in_0_to_1(warmup=0.5, give_up=share)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 0.5, "0"])
def test_what_no_generator_takes_is_no_seed(seed: Any) -> None:
    with pytest.raises(SettingError, match=re.escape(f"from 0 to 2**32 - 1, but got {seed!r}.")):
        as_seed(seed)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_every_generator_takes_the_first_and_the_last_seed(seed: int) -> None:
    as_seed(seed)
    torch.Generator().manual_seed(seed)
    np.random.RandomState(seed)


def test_a_seed_of_numpys_is_pythons_own() -> None:
    assert type(as_seed(np.int64(3))) is int  # type: ignore[arg-type]  # NumPy's numbers are no int


@pytest.mark.parametrize("number", [np.int64(3), np.float32(0.5), torch.tensor(2), np.bool_(True)])
def test_a_number_of_numpys_or_a_tensor_of_one_is_plain_for_files(number: Any) -> None:
    assert json.loads(json.dumps(plain(number))) == number


@pytest.mark.parametrize("value", ["text", None, [1.0], 2.5, np.ones(1)])
def test_anything_else_is_plain_as_it_is(value: Any) -> None:
    assert plain(value) is value


@pytest.mark.parametrize("text", ["1e-3", None, [0.1]])
def test_what_is_no_number_is_named(text: Any) -> None:
    is_number(rate=1e-3, other=np.float32(1), whole=3)
    with pytest.raises(SettingError, match=re.escape(f"`rate` to be a number, but got {text!r}.")):
        is_number(rate=text)
    with pytest.raises(SettingError, match="`give_up` to be a number"):
        in_0_to_1(give_up=text)
