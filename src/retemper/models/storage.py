"""Models on disk: weights in safetensors, the network's spec in their header, never a pickle."""

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.files import replacing
from retemper.models.inference import evaluation_mode, logits
from retemper.models.networks import Network, create
from retemper.models.smooth import is_smooth, rectifiers, smooth
from retemper.models.state import UnsavedBuffers

_WRAPPERS = ("_orig_mod.", "module.")  # of torch.compile, and of DataParallel and DistributedDataParallel


def save(model: nn.Module, path: Path | str, *, facts: Mapping[str, Any] | None = None) -> None:
    """Write the weights, and for this package's networks what builds them again, whole or not at all.

    Args:
        model: any.
        path: a safetensors file.
        facts: what else the file should say, as JSON holds it; `read_facts` reads it back.

    Raises:
        ModelError: it has state that is no tensor (`get_extra_state`), which safetensors cannot hold.
        OSError: the folder cannot be written or the disk is full.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    metadata = {"spec": json.dumps(asdict(model.spec))} if isinstance(model, Network) else {}
    check_savable(model)
    if is_smooth(model):
        metadata["smooth"] = "yes"
    if facts:
        metadata["facts"] = json.dumps(dict(facts))
    # safetensors takes neither views nor weights that layers share, so that each is copied.
    weights = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    with replacing(Path(path)) as temporary:
        try:
            safetensors.torch.save_file(weights, temporary, metadata=metadata)
        except SafetensorError as error:  # which is no OSError, also on a full disk
            raise OSError(f"{path} could not be written: {error}") from error


def check_savable(model: nn.Module) -> None:
    """Raise a ModelError where a model has state that is no tensor, which safetensors cannot hold."""
    others = [
        f"{name} ({type(value).__name__})"
        for name, value in model.state_dict().items()
        if not isinstance(value, torch.Tensor)
    ]
    if others:
        raise ModelError(
            f"Expected a state_dict of tensors, which is all that safetensors holds, but {type(model).__name__} has "
            f"{', '.join(others)} in it. Keep what has to be saved in buffers."
        )


def check_saved_whole(model: nn.Module, before: UnsavedBuffers, inputs: Float[Tensor, "images *shape"]) -> None:
    """Raise a ModelError where buffers have changed that a file leaves out, and answers with them.

    Read back, it would be another model. What a model merely keeps to save time, it makes again.
    """
    if (changed := before.changed(model)) and not _answers_alike(model, before, inputs):
        raise ModelError(
            f"Expected training to change only what a file keeps, but it changed {', '.join(changed)} of "
            f"{type(model).__name__}, registered with persistent=False, so that what is written to `out` would be "
            "another network when it is read back. Register it with persistent=True, or train without `out`."
        )


def _answers_alike(model: nn.Module, before: UnsavedBuffers, inputs: Tensor) -> bool:
    """Whether the model answers with the buffers from before as it does with its own."""
    own = UnsavedBuffers(model)
    with evaluation_mode(model), torch.no_grad():
        expected = logits(model, inputs.clone())
        before.put_back(model)
        try:
            return torch.allclose(logits(model, inputs.clone()), expected)
        except ModelError:
            return False
        finally:
            own.put_back(model)


def load(path: Path | str, factory: str | None = None) -> nn.Module:
    """Build a saved model again, on the CPU, in evaluation mode.

    Where the model had been made smooth and its factory still builds rectifiers, these are swapped (`smooth`).

    Args:
        path: a safetensors file.
        factory: `package.module:factory`, a call without arguments that builds the network; needed for
            weights that this package did not write.

    Raises:
        ModelError: the file is missing, cut short or no safetensors, has no spec and no factory is named, or
            its weights do not fit the network.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}:
        raise ModelError(
            f"{path} looks like a pickle, which can run anything when it is loaded. Convert weights that you trust: "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}. Name a file that `save` wrote.") from None
    model = from_factory(factory) if factory is not None else _from_spec(path, metadata.get("spec"))
    if "smooth" in metadata and rectifiers(model):
        smooth(model)
    if any(weights[name].dtype == torch.float64 for name, _ in model.named_parameters() if name in weights):
        model.double()  # loading copies into the network's own type; a buffer in float64 speaks for itself alone
    try:
        model.load_state_dict(_unwrapped(weights, model))
    except RuntimeError as error:
        raise ModelError(f"The weights in {path} do not fit {type(model).__name__}: {error}") from None
    return model.eval()


def _unwrapped(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Without the prefix that a wrapper had put before every name, if the model has none."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in weights) and not any(
            name.startswith(prefix) for name in model.state_dict()
        ):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def read_facts(path: Path | str) -> dict[str, Any]:
    """What `save` was told to write beside the weights; nothing for a file that says nothing.

    Raises:
        ModelError: the file is missing, or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}. Name a file that `save` wrote.") from None
    return facts if isinstance(facts, dict) else {}


def _from_spec(path: Path, spec: str | None) -> nn.Module:
    if spec is None:
        raise ModelError(f"{path} does not say which network it belongs to; name it as package.module:factory.")
    try:
        return create(**json.loads(spec))
    except Exception as error:  # a file may ask for any shape
        raise ModelError(
            f"{path} belongs to a network that this version of retemper cannot build ({error}); name it as "
            "package.module:factory."
        ) from error


def from_factory(reference: str) -> nn.Module:
    """Build a user's own network from `package.module:factory`, looked up in the current folder too.

    Raises:
        ModelError: the reference has another form, cannot be imported, or does not return an `nn.Module`.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (colon and module_name and attribute):
        raise ModelError(f"Expected a model as package.module:factory, but got {reference!r}.")
    try:
        with _current_folder_importable():
            factory: Any = getattr(importlib.import_module(module_name), attribute)
            model = factory()
    except (Exception, SystemExit) as error:  # an exit would say what a verdict says
        raise ModelError(f"{reference} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"Expected {reference} to return a torch.nn.Module, but got {type(model).__name__}.")
    return model


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
