from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retemper.data import Data, Split
from retemper.data.divide import check_settings, choose, divide
from retemper.data.found import Found
from retemper.errors import DataError, SettingError

NAMES = ("cat", "dog", "horse", "ship")


def numbered(start: int, counts: tuple[int, ...]) -> Split:
    """Images that hold their own number, so that each can be followed."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Split(torch.arange(start, start + len(labels), dtype=torch.float64).unsqueeze(1), labels)


def numbers(split: Split) -> set[int]:
    found = {int(number) for number in split.inputs[:, 0]}
    assert len(found) == len(split)
    return found


def parts(data: Data) -> list[Split]:
    return [data.train, data.validation, data.test]


def sources() -> dict[str, Found]:
    train, validation, test = (numbered(start, (40, 20, 60, 30)) for start in (0, 1000, 2000))
    return {
        "only train": Found({"train": train}, NAMES),
        "with test": Found({"train": train, "test": test}, NAMES),
        "with validation": Found({"train": train, "validation": validation}, NAMES),
        "with both": Found({"train": train, "validation": validation, "test": test}, NAMES),
    }


@pytest.mark.parametrize("source", sources())
def test_every_image_appears_once_with_its_label(source: str) -> None:
    found = sources()[source]
    data = divide("x", found, None, 0.2, 0)
    everything = [numbers(split) for split in parts(data)]
    assert set().union(*everything) == set().union(*(numbers(split) for split in found.splits.values()))
    assert all(one.isdisjoint(other) for one, other in combinations(everything, 2))
    expected = {
        int(number): int(label)
        for split in found.splits.values()
        for number, label in zip(split.inputs[:, 0], split.labels, strict=True)
    }
    for split in parts(data):
        assert [expected[int(number)] for number in split.inputs[:, 0]] == split.labels.tolist()


def test_splits_of_the_source_stay_whole() -> None:
    both = divide("x", sources()["with both"], None, 0.2, 0)
    assert [min(numbers(split)) for split in parts(both)] == [0, 1000, 2000]
    assert [len(split) for split in parts(both)] == [150, 150, 150]
    served = divide("x", sources()["with validation"], None, 0.2, 0)
    assert numbers(served.test) == set(range(1000, 1150))
    assert len(served.validation) == 30


def test_third_becomes_test_where_there_is_only_train() -> None:
    data = divide("x", sources()["only train"], None, 0.1, 0)
    assert [len(split) for split in parts(data)] == [90, 10, 50]


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(40, 90), min_size=2, max_size=5).map(tuple),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_validation_has_the_class_shares_of_train(counts: tuple[int, ...], share: float, seed: int) -> None:
    train = numbered(0, counts)
    names = tuple(str(number) for number in range(len(counts)))
    data = divide("x", Found({"train": train, "test": numbered(900, counts)}, names), None, share, seed)
    for label, count in enumerate(counts):
        assert abs(int((data.validation.labels == label).sum()) - share * count) <= 1.5


def test_seed_chooses_validation_and_never_test() -> None:
    first, again, other = (divide("x", sources()["only train"], None, 0.2, seed) for seed in (0, 0, 1))
    assert torch.equal(first.validation.inputs, again.validation.inputs)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert numbers(first.validation) != numbers(other.validation)
    assert torch.equal(first.test.inputs, other.test.inputs)


def test_classes_are_numbered_in_the_order_asked() -> None:
    found = sources()["with test"]
    chosen = choose(found, ("ship", "cat"))
    assert chosen.classes == ("ship", "cat")
    for role, split in chosen.splits.items():
        before = found.splits[role]
        assert numbers(split) == numbers(
            Split(before.inputs[before.labels % 3 == 0], before.labels[before.labels % 3 == 0])
        )
        is_ship = torch.tensor([int(number) % 1000 >= 120 for number in split.inputs[:, 0]])
        assert torch.equal(split.labels == 0, is_ship)


def test_some_classes_keep_the_test_images_that_all_have() -> None:
    whole, some = (divide("x", sources()["only train"], classes, 0.2, 0) for classes in (None, ["dog", "ship"]))
    assert numbers(some.test) <= numbers(whole.test)
    assert len(some.test) == int((whole.test.labels % 2 == 1).sum())


@pytest.mark.parametrize("classes", [["cat"], [], ["cat", "cat"], ["cat", "dog", "cat"], "cat"])
def test_fewer_than_two_or_repeated_classes_are_refused(classes: list[str]) -> None:
    with pytest.raises(SettingError, match="two or more different names"):
        check_settings(classes, 0.2, 0)


def test_unknown_class_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"among \['cat', 'dog', 'horse', 'ship'\], but got 'Cat'"):
        divide("x", sources()["with test"], ["dog", "Cat"], 0.2, 0)


def test_class_that_a_split_lacks_is_refused() -> None:
    found = Found({"train": numbered(0, (9, 9, 9)), "test": numbered(0, (9, 9))}, ("a", "b", "c"))
    with pytest.raises(DataError, match="'c' has no image in test; leave it out"):
        divide("x", found, ["a", "c"], 0.5, 0)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_validation_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="share between 0 and 1"):
        check_settings(None, share, 0)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_seed_out_of_range_is_refused(seed: float) -> None:
    with pytest.raises(SettingError, match="`seed`"):
        check_settings(None, 0.1, seed)


@pytest.mark.parametrize(
    ("counts", "share", "purpose"),
    [
        ((30, 1), 0.1, "validation"),
        ((2, 2), 0.1, "validation"),
        ((100, 3), 0.1, "validation"),
        ((50, 3), 0.9, "validation"),
    ],
)
def test_class_too_small_to_divide_is_named(counts: tuple[int, int], share: float, purpose: str) -> None:
    found = Found({"train": numbered(0, counts), "test": numbered(0, (1, 1))}, ("big", "small"))
    name = "small" if counts[1] < counts[0] else "big"
    with pytest.raises(DataError, match=f"'{name}' has only {min(counts)} of {sum(counts)} .* as {purpose}"):
        divide("x", found, None, share, 0)


def test_a_split_sorted_by_class_is_shuffled_so_that_its_first_images_are_of_all_classes() -> None:
    labels = torch.arange(4).repeat_interleave(50)
    test = Split(torch.arange(200.0).unsqueeze(1), labels)
    train = Split(torch.arange(200.0, 400.0).unsqueeze(1), labels.roll(1))
    data = divide("sorted", Found({"train": train, "test": test}, ("a", "b", "c", "d"), ""), None, 0.1, 0)
    assert len(data.test.take(40).labels.unique()) == 4
    assert sorted(data.test.inputs[:, 0].tolist()) == list(range(200))
    assert all(
        int(label) == int(value) // 50 for value, label in zip(data.test.inputs[:, 0], data.test.labels, strict=True)
    )


def test_a_split_in_any_other_order_keeps_it() -> None:
    labels = torch.tensor([0, 1] * 20)
    test = Split(torch.arange(40.0).unsqueeze(1), labels)
    data = divide("mixed", Found({"train": test, "test": test}, ("a", "b"), ""), None, 0.1, 0)
    assert torch.equal(data.test.inputs, test.inputs)
