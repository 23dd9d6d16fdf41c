"""What every layer of a module puts out, recorded by hooks that leave nothing behind."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation as nonlinearities

from retemper.errors import LayerError

Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]]
"""Which layers: "all" nonlinearities, a kind (`nn.Conv2d`), a name or pattern ("conv*_act"), or several."""

# Softmax makes probabilities out of logits and attention is a whole block: neither is a layer's nonlinearity.
NONLINEARITIES = tuple(
    getattr(nonlinearities, name)
    for name in nonlinearities.__all__
    if name not in {"Softmax", "Softmax2d", "LogSoftmax", "Softmin", "MultiheadAttention"}
)


RUN = re.compile(r"#\d+$")
"""What ends the name of an output of a module that had run before."""


class Activations(Mapping[str, Tensor]):
    """The outputs of the recorded layers by name, in the order in which the layers ran.

    A module that ran again keeps its name and gets a number: `act`, `act#2`, `act#3`.
    """

    def __init__(self, differentiable: bool = False) -> None:
        self._outputs: dict[str, tuple[Tensor, int | None]] = {}
        self._differentiable = differentiable

    def _add(self, name: str, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise LayerError(
                f"Expected layer {name!r} to return a tensor, but it returns {type(output).__name__}; "
                "record one of the layers inside it."
            )
        # A frozen layer runs with gradients on, though its output needs none: the mode tells the two apart.
        if self._differentiable and not torch.is_grad_enabled():
            raise LayerError(
                f"Layer {name!r} runs inside the model with gradients off, so that nothing computed from its output "
                "could train it. If it is checkpointed, call torch.utils.checkpoint.checkpoint with "
                "use_reentrant=False. If the model runs it under torch.no_grad, as frozen features, leave it out of "
                '`layers`: in place of "all" name those that are trained, such as "head.*" or a list of names.'
            )
        runs = 2
        key = name
        while key in self._outputs:
            key, runs = f"{name}#{runs}", runs + 1
        # Inference tensors do not count their changes, so that only a copy is safe from layers that work in place.
        kept = output.clone() if output.is_inference() else output
        self._outputs[key] = (kept, _version(kept))

    def __getitem__(self, name: str) -> Tensor:
        output, version = self._outputs[name]
        if _version(output) != version:
            raise LayerError(
                f"The output of layer {name!r} was changed in place by a later layer, so that it is lost; "
                "build that later layer with inplace=False."
            )
        return output

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def clear(self) -> None:
        """Forget what was recorded, to record the next forward pass."""
        self._outputs.clear()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


@contextlib.contextmanager
def record(model: nn.Module, layers: Layers = "all", *, differentiable: bool = False) -> Iterator[Activations]:
    """Record what the chosen layers put out in every forward pass inside the block.

    The tensors are the layers' own outputs (copies in inference mode), with their graph where gradients are
    on. The model computes what it computes without recording; the hooks are gone when the block ends, however
    it ends. A model under `torch.compile` does not run them: record the model that was compiled.

    With `differentiable` every layer has to run with gradients on, so that none is left out of a loss in silence. That
    a layer is frozen, so that its output needs no gradient, is no fault.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> with record(model) as activations:
    ...     _ = model(torch.ones(5, 2))
    >>> {name: tuple(output.shape) for name, output in activations.items()}
    {'1': (5, 3)}

    Raises:
        LayerError: no layer fits; a layer returns no tensor, or runs with gradients off though outputs are to be
            differentiable; or, on reading, a later layer changed the recorded output in place.
    """
    chosen = select(model, layers)
    recorded = Activations(differentiable)
    handles = []
    try:
        for name, module in chosen.items():
            handles.append(
                module.register_forward_hook(lambda _module, _inputs, output, name=name: recorded._add(name, output))
            )
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def select(model: nn.Module, layers: Layers = "all") -> dict[str, nn.Module]:
    """The chosen layers by name, in the order in which they were registered.

    A module shared under several names is chosen by any of them and appears once, under the first. In a
    pattern `*` stands for dots too. The name "module", which wrappers for several devices put before every
    other, is left out.

    Raises:
        LayerError: a choice fits no layer, with what the model has; for "all", a model whose nonlinearities
            are functions inside its `forward`, which no hook can see.
    """
    choices = [layers] if isinstance(layers, str | type) else list(layers)
    named = [(name, module) for name, module in _unwrap(model).named_modules(remove_duplicate=False) if name]
    chosen: set[nn.Module] = set()
    for choice in choices:
        found = {module for name, module in named if _fits(choice, name, module)}
        if not found:
            raise LayerError(_nothing_found(model, choice, [name for name, _ in named]))
        chosen |= found
    if not chosen:
        raise LayerError('Expected at least one layer, but got an empty list; "all" takes every nonlinearity.')
    first_names: dict[nn.Module, str] = {}
    for name, module in named:
        first_names.setdefault(module, name)
    return {name: module for module, name in first_names.items() if module in chosen}


def _unwrap(model: nn.Module) -> nn.Module:
    """The model that the user named layers of: inside DataParallel and its like, which hold it as `module`."""
    children = list(model.named_children())
    if len(children) == 1 and children[0][0] == "module" and any(children[0][1].children()):
        return _unwrap(children[0][1])
    return model


def _fits(choice: str | type[nn.Module], name: str, module: nn.Module) -> bool:
    if isinstance(choice, type):
        return isinstance(module, choice)
    if choice == "all":
        return isinstance(module, NONLINEARITIES)
    return name == choice or fnmatchcase(name, choice)


def _nothing_found(model: nn.Module, choice: str | type[nn.Module], names: list[str]) -> str:
    known = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    if choice == "all":
        return (
            f"{type(model).__name__} has no nonlinearity that is a module: those called as functions inside "
            "`forward` (F.relu, torch.tanh) cannot be seen from outside. Make them modules (nn.ReLU()), or name "
            f"the layers whose outputs should be recorded. It has: {known or 'no submodules'}."
        )
    kind = choice if isinstance(choice, str) else choice.__name__
    return f"No layer of {type(model).__name__} fits {kind!r}. It has: {known or 'no submodules'}."
