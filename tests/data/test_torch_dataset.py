from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from retemper.data import load
from retemper.data.torch_dataset import read_torch_datasets
from retemper.errors import DataError, SettingError


class Listed(Dataset[Any]):
    def __init__(self, items: list[Any], classes: Any = None) -> None:
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def test_tensors_are_kept_channels_first() -> None:
    inputs, labels = torch.rand(6, 4, 3, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    found = read_torch_datasets(TensorDataset(inputs, labels), None)
    assert torch.equal(found.splits["train"].inputs, inputs)
    assert torch.equal(found.splits["train"].labels, labels)
    assert found.classes == ("0", "1", "2")


def test_grey_images_without_a_channel_get_one() -> None:
    inputs = torch.arange(2 * 4 * 5, dtype=torch.uint8).view(2, 4, 5)
    found = read_torch_datasets(TensorDataset(inputs, torch.tensor([0, 1])), None)
    assert torch.equal(found.splits["train"].inputs, inputs.unsqueeze(1))


def test_pil_images_are_decoded_and_grey_ones_follow_colour() -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    colour = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    train = Listed([(Image.fromarray(grey), 0), (Image.fromarray(grey), 1)])
    test = Listed([(Image.fromarray(colour), 1)])
    found = read_torch_datasets(train, test)
    np.testing.assert_array_equal(found.splits["train"].inputs.numpy(), np.tile(grey, (2, 3, 1, 1)))
    np.testing.assert_array_equal(found.splits["test"].inputs[0].numpy(), colour.transpose(2, 0, 1))


def test_jpeg_is_noted() -> None:
    file = BytesIO()
    Image.new("L", (4, 4), 100).save(file, "JPEG")
    image = Image.open(BytesIO(file.getvalue()))
    assert read_torch_datasets(Listed([(image, 0), (image, 1)]), None).note == "images stored as JPEG"


def test_labels_may_be_strings_or_tensors_of_one() -> None:
    text = Listed([(torch.rand(3), name) for name in ("dog", "horse", "dog")])
    column = Listed([(torch.rand(3), torch.tensor([label])) for label in (1, 0, 1)])
    assert read_torch_datasets(text, None).splits["train"].labels.tolist() == [0, 1, 0]
    assert read_torch_datasets(column, None).splits["train"].labels.tolist() == [1, 0, 1]


def test_classes_of_the_dataset_name_the_labels() -> None:
    items = [(torch.rand(3), label) for label in (0, 1, 1, 0)]
    assert read_torch_datasets(Listed(items, ["no", "yes"]), None).classes == ("no", "yes")


def test_names_in_an_array_are_names() -> None:
    items = [(torch.rand(3), label) for label in (0, 1)]
    assert read_torch_datasets(Listed(items, np.array(["no", "yes"])), None).classes == ("no", "yes")


@pytest.mark.parametrize("classes", [2, [3, 7], torch.tensor([3, 7]), len, {"no", "yes"}, {"no": 3}, (("a", "b"),)])
def test_what_is_no_list_of_names_names_no_classes(classes: Any) -> None:
    items = [(torch.rand(3), label) for label in (7, 3, 7)]
    found = read_torch_datasets(Listed(items, classes), Listed(items, classes))
    assert found.classes == ("3", "7")
    assert found.splits["test"].labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("tensor", [torch.ones(3, dtype=torch.bfloat16), torch.ones(3).to_sparse()])
def test_tensors_that_numpy_has_not_are_named(tensor: torch.Tensor) -> None:
    with pytest.raises(DataError, match=rf"in the train Listed, but got {tensor.dtype} in the layout {tensor.layout};"):
        read_torch_datasets(Listed([(tensor, 0), (tensor, 1)]), None)


def test_colour_does_not_become_something_else() -> None:
    colour, more = (torch.zeros(2, channels, 4, 4, dtype=torch.uint8) for channels in (3, 4))
    with pytest.raises(DataError, match=r"inputs of shape \(3, 4, 4\) in torch.uint8, but got \(4, 4, 4\)"):
        read_torch_datasets(TensorDataset(colour, torch.tensor([0, 1])), TensorDataset(more, torch.tensor([0, 1])))


def test_a_loader_is_no_test_split() -> None:
    train = TensorDataset(torch.rand(60, 3), torch.arange(60) % 2)
    with pytest.raises(SettingError, match="`test` to be of Dataset, but got DataLoader; as `source` is"):
        load(train, test=DataLoader(train))  # type: ignore[arg-type]  # on purpose


def test_load_takes_test_or_splits_off_a_third() -> None:
    train = TensorDataset(torch.rand(60, 3), torch.arange(60) % 2)
    test = TensorDataset(torch.rand(7, 3), torch.arange(7) % 2)
    alone, both = load(train), load(train, test=test)
    assert alone.name == both.name == "TensorDataset"
    assert [len(alone.train), len(alone.validation), len(alone.test)] == [36, 4, 20]
    assert torch.equal(both.test.inputs, test.tensors[0])
    assert len(both.train) + len(both.validation) == 60


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Endless(), "to have a length"),
        (Listed([]), "of 1 or more"),
        (Listed([torch.rand(3)]), r"\(input, label\) at 0 of the train Listed, but got Tensor"),
        (
            Listed([(torch.rand(3), 0), (torch.rand(4), 1)]),
            r"input 0 is float32 of \(3,\) and input 1 .* \(4,\)",
        ),
        (Listed([(torch.rand(3), 0), (torch.rand(3).double(), 1)]), "input 1 is float64"),
        (Listed([(torch.rand(3), 0), ("text", 1)]), r"but got \['Tensor', 'str'\]"),
        (
            Listed([(torch.rand(3) + 1, 0), (torch.rand(3), 1)]),
            r"the inputs of the train Listed to lie in \[0, 1\]",
        ),
        (Listed([(torch.rand(3), torch.tensor([0, 1]))] * 2), r"integer or string .* of shape \(2, 2\)"),
        (Listed([(torch.rand(3), 0), (torch.rand(3), [0, 1])]), "arrays of several shapes"),
        (Listed([(torch.rand(3), 0.5), (torch.rand(3), 1.0)]), "integer or string"),
        (
            Listed([(Image.new("L", (4, 5)), 0), (Image.new("L", (6, 7)), 1)]),
            "image 0 is 4x5 and image 1 is 6x7",
        ),
    ],
)
def test_datasets_that_cannot_be_read_are_refused(dataset: Dataset[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_torch_datasets(dataset, None)


def test_labels_of_test_are_read_under_its_own_class_names() -> None:
    def images(names: list[str]) -> Listed:
        shades = {"cat": 0.1, "dog": 0.5, "owl": 0.9}
        return Listed([(torch.full((1, 2, 2), shades[name]), place) for place, name in enumerate(names)], names)

    found = read_torch_datasets(images(["cat", "dog", "owl"]), images(["cat", "owl"]))
    assert found.splits["test"].labels.tolist() == [0, 2]
    with pytest.raises(DataError, match=r"but test has \['owl'\] besides"):
        read_torch_datasets(images(["cat", "dog"]), images(["cat", "owl"]))
