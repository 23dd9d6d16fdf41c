import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models import NETWORKS, create, from_factory, load, read_facts, save


def fresh(name: str = "small-cnn", classes: int = 5, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return create(name, shape=(3, 8, 8), classes=classes, **settings)  # type: ignore[arg-type]  # shortens the tests


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loaded_model_gives_the_same_logits_to_the_bit(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    activation = "relu" if name == "lipschitz-cnn" else "silu"  # it has its own
    model = fresh(name, activation=activation, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)).to(dtype).eval()
    save(model, tmp_path / "deep" / "model.safetensors")
    again = load(tmp_path / "deep" / "model.safetensors")
    images = torch.rand(4, 3, 8, 8, dtype=dtype)
    assert torch.equal(again(images), model(images))
    assert not any(module.training for module in again.modules())


class Averaging(nn.Linear):
    """Keeps a mean in float64 beside weights of any other type."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.register_buffer("seen", torch.zeros(4, dtype=torch.float64))


def test_a_buffer_in_float64_does_not_double_the_weights(tmp_path: Path) -> None:
    model = Averaging()
    model.seen += torch.rand(4, dtype=torch.float64)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", f"{__name__}:Averaging")
    assert (again.weight.dtype, again.seen.dtype) == (torch.float32, torch.float64)
    assert torch.equal(again.seen, model.seen)
    save(model.double(), tmp_path / "double.safetensors")
    assert load(tmp_path / "double.safetensors", f"{__name__}:Averaging").weight.dtype == torch.float64


def test_paths_may_be_strings(tmp_path: Path) -> None:
    save(fresh(), str(tmp_path / "model.safetensors"))
    assert isinstance(load(str(tmp_path / "model.safetensors")), nn.Module)


def test_weights_in_another_layout_are_saved(tmp_path: Path) -> None:
    model = fresh().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub forgets it
    save(model, tmp_path / "model.safetensors")
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(load(tmp_path / "model.safetensors")(images), model(images))


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a module `own_networks`, forgotten afterwards."""
    (tmp_path / "own_helpers.py").write_text("WIDTH = 4\n")
    (tmp_path / "own_networks.py").write_text(
        "import torch\n"
        "from own_helpers import WIDTH\n"
        "def linear(): return torch.nn.Linear(WIDTH, 3)\n"
        "def text(): return 'no module'\n"
        "def fails(): raise KeyError('on purpose')\n"
        "def leaves(): raise SystemExit(0)\n"
        "def wants_more(width): return torch.nn.Linear(width, 3)\n"
        "class Tied(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)\n"
        "        self.second.weight = self.first.weight\n"
        "    def forward(self, inputs): return self.second(self.first(inputs))\n"
        "constant = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("own_networks", "own_helpers"):
        sys.modules.pop(name, None)


def test_shared_weights_are_saved_and_stay_shared(here: Path) -> None:
    model = Tied()
    save(model, here / "tied.safetensors")
    again = load(here / "tied.safetensors", "own_networks:Tied")
    inputs = torch.rand(2, 4)
    assert torch.equal(again(inputs), model(inputs))
    assert again.second.weight is again.first.weight


def test_a_factory_in_the_current_folder_is_found_and_the_import_path_left_alone(here: Path) -> None:
    before = [*sys.path]
    model = from_factory("own_networks:linear")
    assert isinstance(model, nn.Linear)
    assert sys.path == before


def test_the_import_path_is_left_alone_also_when_the_factory_fails(here: Path) -> None:
    before = [*sys.path]
    with pytest.raises(ModelError, match=r"KeyError.*on purpose"):
        from_factory("own_networks:fails")
    assert sys.path == before


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own_networks", "package.module:factory"),
        ("own_networks:", "package.module:factory"),
        (":linear", "package.module:factory"),
        ("", "package.module:factory"),
        ("no_such_module:linear", "ModuleNotFoundError.*no_such_module"),
        ("own_networks:missing", "AttributeError.*missing"),
        ("own_networks:wants_more", "TypeError"),
        ("own_networks:constant", "TypeError"),
        ("own_networks:leaves", "SystemExit"),
        ("own_networks:text", "torch.nn.Module, but got str"),
    ],
)
def test_bad_factories_are_refused_by_name(here: Path, reference: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        from_factory(reference)


def test_weights_of_an_own_network_need_its_factory(here: Path) -> None:
    model = nn.Linear(4, 3)
    save(model, here / "own.safetensors")
    inputs = torch.rand(2, 4)
    assert torch.equal(load(here / "own.safetensors", "own_networks:linear")(inputs), model(inputs))
    with pytest.raises(ModelError, match=r"package\.module:factory"):
        load(here / "own.safetensors")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(fresh(), path)
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load(path)
        assert path.read_bytes() == whole[:length]


class Trap:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]  # pickle calls it with the path


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.bin", "model.pkl", "model.ckpt", "model.safetensors"])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        pickle.dump(Trap(tmp_path / "sprung"), file)
    with pytest.raises(ModelError, match="safetensors"):
        load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


def test_weights_of_another_network_are_refused_and_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(fresh(), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for weights in (
        fresh("mlp").state_dict(),
        fresh(classes=6).state_dict(),
        {"other": torch.zeros(2)},
        {},
    ):
        safetensors.torch.save_file(weights, path, metadata=metadata)
        with pytest.raises(ModelError, match=r"model\.safetensors do not fit Network"):
            load(path)


@pytest.mark.parametrize(
    "spec",
    [
        "not json",
        "[]",
        "{}",
        '{"name": "small-cnn"}',
        '{"name": "of-tomorrow", "shape": [3, 8, 8], "classes": 5}',
        '{"name": "mlp", "shape": [3, 8, 8], "classes": 5, "of_tomorrow": 1}',
    ],
)
def test_a_spec_that_cannot_be_built_is_refused(tmp_path: Path, spec: str) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(fresh().state_dict(), path, metadata={"spec": spec})
    with pytest.raises(ModelError, match="cannot build"):
        load(path)


def test_a_full_disk_leaves_the_earlier_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(fresh(), path)
    before = path.read_bytes()

    def full(_weights: object, target: Path, **_options: object) -> None:
        Path(target).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        save(fresh(classes=3), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


class Counting(nn.Flatten):
    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}


def test_state_that_is_no_tensor_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"0\._extra_state \(dict\)"):
        save(nn.Sequential(Counting(), nn.Linear(2, 2)), tmp_path / "deep" / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_facts_are_read_back_and_change_nothing_else(tmp_path: Path) -> None:
    model = create("mlp", shape=(4,), classes=2)
    save(model, tmp_path / "with.safetensors", facts={"objective": [{"weight": 0.5}]})
    save(model, tmp_path / "without.safetensors")
    assert read_facts(tmp_path / "with.safetensors") == {"objective": [{"weight": 0.5}]}
    assert read_facts(tmp_path / "without.safetensors") == {}
    again = load(tmp_path / "with.safetensors")
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())


def test_facts_of_no_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("nothing")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        read_facts(tmp_path / "model.safetensors")


def test_a_disk_that_is_full_is_an_oserror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        save(nn.Linear(2, 2), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrapper", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_weights_of_a_wrapped_model_are_loaded_into_the_bare_one(
    here: Path, wrapper: Callable[[nn.Module], nn.Module]
) -> None:
    model = nn.Linear(4, 3)
    save(wrapper(model), here / "model.safetensors")
    inputs = torch.rand(5, 4)
    assert torch.equal(load(here / "model.safetensors", "own_networks:linear")(inputs), model(inputs))
