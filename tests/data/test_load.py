from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as Pillow
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import TensorDataset

from retemper.data import load
from retemper.errors import DataError, SettingError

RANDOM = np.random.default_rng(0)
TORCH_SET = TensorDataset(torch.rand(30, 2), torch.arange(30) % 2)


def image_folder(folder: Path, splits: tuple[str, ...] = ("train", "test"), kind: str = "png") -> Path:
    for split in splits:
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for index in range(12):
                values = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
                Pillow.fromarray(values).save(folder / split / name / f"{index}.{kind}")
    return folder


def parquet_folder(folder: Path, label: Any = None, splits: tuple[str, ...] = ("train", "test")) -> Path:
    folder.mkdir()
    features = Features({"img": Image(), "label": label or ClassLabel(names=["cat", "dog"])})
    for split in splits:
        photos = [Pillow.fromarray(RANDOM.integers(0, 256, (6, 5), dtype=np.uint8)) for _ in range(20)]
        table = Dataset.from_dict({"img": photos, "label": [index % 2 for index in range(20)]}, features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def test_digits_have_a_test_split_that_no_seed_changes() -> None:
    data, other = load("digits"), load("digits", seed=1, validation=0.3)
    assert (data.name, data.shape, data.classes, data.note) == ("digits", (1, 8, 8), tuple("0123456789"), "")
    assert [len(data.train), len(data.validation), len(data.test)] == [1078, 120, 599]
    assert torch.equal(data.test.inputs, other.test.inputs)
    assert load("digits").fingerprint() == data.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("seed", [0, 1])
def test_breast_cancer_is_scaled_by_what_is_trained_on_alone(seed: int) -> None:
    data = load("breast-cancer", seed=seed)
    assert (data.name, data.shape, data.classes, data.note) == ("breast-cancer", (30,), ("malignant", "benign"), "")
    table = load_breast_cancer()
    rest, test = train_test_split(np.arange(569), test_size=1 / 3, random_state=0, stratify=table.target)
    train, validation = train_test_split(rest, test_size=0.1, random_state=seed, stratify=table.target[rest])
    scaler = MinMaxScaler(clip=True).fit(table.data[train])
    for split, rows in ((data.train, train), (data.validation, validation), (data.test, test)):
        assert split.labels.tolist() == table.target[rows].tolist()
        np.testing.assert_allclose(split.inputs.numpy(), scaler.transform(table.data[rows]), atol=1e-6)


def test_image_folder_is_read(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pets")
    data = load(folder)
    assert (data.name, data.shape, data.classes, data.note) == ("pets", (3, 6, 5), ("cat", "dog"), "")
    assert [len(data.train), len(data.validation), len(data.test)] == [21, 3, 24]
    first = np.asarray(Pillow.open(folder / "test" / "cat" / "0.png")).transpose(2, 0, 1)
    # A folder comes sorted by class, so that it is shuffled.
    (place,) = [place for place, image in enumerate(data.test.inputs.numpy()) if np.array_equal(image, first)]
    assert data.classes[int(data.test.labels[place])] == "cat"


@pytest.mark.parametrize("linked", ["test", "train/bird"])
def test_a_link_to_a_folder_is_refused_as_its_images_would_be_passed_over(tmp_path: Path, linked: str) -> None:
    folder, elsewhere = image_folder(tmp_path / "pets", ("train",)), image_folder(tmp_path / "elsewhere")
    (folder / linked).symlink_to(elsewhere / "train")
    with pytest.raises(DataError, match=f"{linked} is a link to the folder .*elsewhere/train, whose files would be"):
        load(folder)


def test_a_link_to_the_folder_itself_or_to_files_is_followed(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pets")
    (folder / "train" / "cat" / "linked.png").symlink_to(folder / "test" / "cat" / "0.png")
    (tmp_path / "link").symlink_to(folder)
    assert len(load(tmp_path / "link").train) == 22


def test_folder_of_classes_alone_and_of_jpeg_is_read(tmp_path: Path) -> None:
    data = load(str(image_folder(tmp_path, ("",), "jpg")))
    assert [len(data.train), len(data.validation), len(data.test)] == [14, 2, 8]
    assert data.note == "images stored as JPEG"


def test_validation_without_test_serves_as_test(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path / "set", splits=("train", "validation"))
    data = load(folder, validation=0.25)
    assert [len(data.train), len(data.validation), len(data.test)] == [15, 5, 20]


def test_parquet_folder_is_read_by_str_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parquet_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    datas = [load(folder), load(str(folder)), load("./set"), load("set"), load(Path("set"))]
    assert {data.name for data in datas} == {"set"}
    assert len({data.fingerprint() for data in datas}) == 1
    assert datas[0].shape == (1, 6, 5)


def test_second_load_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parquet_folder(tmp_path / "set")
    first = load(folder)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("read again"))
    assert load(folder).fingerprint() == first.fingerprint()
    assert len(load(folder, classes=("dog", "cat")).test) == 20


def test_changed_source_is_read_anew(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pets")
    before = load(folder)
    Pillow.new("RGB", (5, 6), "red").save(folder / "test" / "cat" / "0.png")
    after = load(folder)
    red = [255, 0, 0]
    assert red in after.test.inputs[:, :, 0, 0].tolist()
    assert red not in before.test.inputs[:, :, 0, 0].tolist()
    assert after.fingerprint() != before.fingerprint()


def test_columns_chosen_are_part_of_what_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    Dataset.from_dict({"x": [0.1, 0.2] * 9, "y": ["a", "b"] * 9, "z": ["c", "d"] * 9}).to_csv(path, index=False)
    assert load(path, label_column="y").classes == ("a", "b")
    assert load(path, label_column="z").classes == ("c", "d")


@pytest.mark.parametrize("alias", ["mnist", "cifar10"])
def test_alias_is_looked_for_in_the_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: str) -> None:
    parquet_folder(tmp_path / alias)
    monkeypatch.setenv("RETEMPER_DATA", str(tmp_path))
    assert load(alias).name == alias


@pytest.mark.parametrize("data_folder", [None, "elsewhere"])
def test_alias_without_a_folder_means_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_folder: str | None
) -> None:
    parquet_folder(tmp_path / "mnist")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETEMPER_DATA", raising=False)
    if data_folder:
        monkeypatch.setenv("RETEMPER_DATA", str(tmp_path / data_folder))
    asked: list[str] = []

    def load_dataset(name: str) -> DatasetDict:
        asked.append(name)
        return DatasetDict(train=Dataset.from_dict({"a": [0.1, 0.2] * 9, "label": [0, 1] * 9}))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    assert load("mnist").name == "mnist"
    assert load("me/set").name == "me/set"
    assert asked == ["ylecun/mnist", "me/set"]


def test_arguments_reach_the_division(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path / "set")
    data = load(folder, classes=("dog", "cat"), validation=0.5)
    assert data.classes == ("dog", "cat")
    assert len(data.validation) == 10
    assert data.test.labels.tolist() == [1, 0] * 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("minst", "called 'minst'; did you mean mnist"),
        ("breast_cancer", "did you mean breast-cancer"),
        ("CIFAR-10", "did you mean cifar10"),
        (
            "imagenet",
            r"called 'imagenet'. Expected one of \['digits', 'breast-cancer', 'mnist', 'cifar10'\], .*with a slash",
        ),
        ("./nowhere", "no file or folder .*nowhere; check the path"),
        ("/nowhere/set", "no file or folder /nowhere/set"),
        ("folder/set.npz", "no file or folder .*set.npz"),
        ("set.parquet", "no file or folder .*set.parquet"),
        (Path("minst"), "no file or folder .*minst; check the path"),
    ],
)
def test_unknown_sources_are_refused(source: str | Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(source)


def test_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"set\.pkl to be a folder or a file of \.npz, \.safetensors, \.parquet, \.csv"):
        load(tmp_path / "set.pkl")


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("digits", {"test": TORCH_SET}, "`test` goes with a torch Dataset"),
        ("digits", {"label_column": "y"}, "`label_column` are for tables, and digits is none"),
        ("breast-cancer", {"image_column": "x"}, "are for tables, and breast-cancer is none"),
        (TORCH_SET, {"image_column": "x"}, "a torch Dataset is none"),
        ("digits", {"validation": 1.0}, "share between 0 and 1"),
        ("digits", {"classes": ["1"]}, "two or more"),
        (7, {}, "a name, a path or a torch Dataset, but got int"),
    ],
)
def test_settings_that_cannot_be_are_refused(source: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load(source, **arguments)


def test_columns_of_an_array_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=np.zeros((4, 2)), y_train=[0, 1, 0, 1])
    with pytest.raises(SettingError, match=r"set\.npz is none"):
        load(tmp_path / "set.npz", label_column="y")


def test_mnist_as_published(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETEMPER_DATA", str(real_data))
    data = load("mnist")
    assert (data.name, data.shape, data.classes, data.note) == ("mnist", (1, 28, 28), tuple("0123456789"), "")
    assert [len(data.train), len(data.validation), len(data.test)] == [54000, 6000, 10000]
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    everything = torch.cat([data.train.labels, data.validation.labels])
    assert everything.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_cifar10_as_stored(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETEMPER_DATA", str(real_data))
    data = load("cifar10", classes=("horse", "airplane"))
    assert (data.name, data.shape, data.classes) == ("cifar10", (3, 32, 32), ("horse", "airplane"))
    assert data.note == "images stored as JPEG"
    assert [len(data.train), len(data.validation), len(data.test)] == [9000, 1000, 2000]
    assert data.validation.labels.bincount().tolist() == [500, 500]
