"""Gradients straight through what has none: BPDA with the identity (Athalye et al. 2018, 1802.00420)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from retemper.models import logits

STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn"}
REMAINDERS = {"remainder", "fmod", "frac", "__mod__"}
ABOVE = {"gt", "ge", "greater", "greater_equal", "__gt__", "__ge__"}
BELOW = {"lt", "le", "less", "less_equal", "__lt__", "__le__"}
CASTS = {"to", "type", "type_as", "int", "long", "short", "byte", "char", "bool", "float", "double", "half", "bfloat16"}
SUMS = {"add", "sub", "rsub", "__rsub__", "subtract", "mul", "multiply", "div", "divide", "true_divide", "__rtruediv__"}


class StraightThrough(nn.Module):
    """A model whose steps pass gradients on as the identity would; its outputs are the model's own, bit for bit.

    Steps are rounding, signs, integer division, remainders, comparisons, casts to integers and back, `detach`,
    `.data`, `no_grad` and `inference_mode`. A step inside an autograd function of the model's own, or outside
    torch, cannot be seen.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The logits."""
        if not (torch.is_grad_enabled() and inputs.requires_grad):
            return logits(self.model, inputs)
        with _Through():
            return logits(self.model, inputs)


class _Through(TorchFunctionMode):
    """Replaces each step by one with the gradient of the identity."""

    def __init__(self) -> None:
        super().__init__()
        # Integers and truth values carry no graph: what they came from is kept beside them, by identity.
        self.sources: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch._C._set_grad_enabled:
            return func(*args, **kwargs)
        with torch.inference_mode(False), torch.enable_grad():
            return self._call(func, args, kwargs)

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        first: Any = args[0] if args else kwargs.get("input")
        if name.endswith("_") and not name.endswith("__") and name[:-1] in STEPS and _followed(first):
            return first.copy_(_through(func(first.clone().detach(), *args[1:], **kwargs), first.clone()))
        if not isinstance(first, Tensor) and not any(isinstance(value, Tensor) for value in args):
            return func(*args, **kwargs)
        if name in ("detach", "detach_") or func == Tensor.data.__get__:  # type: ignore[attr-defined]  # a descriptor
            return first
        if name in STEPS and _followed(first):
            return _through(func(*args, **kwargs), first)
        if name in ("floor_divide", "__floordiv__") and _followed(first):
            return _through(func(*args, **kwargs), first / args[1])
        if name in REMAINDERS:
            return _cut(func, args, kwargs)
        if name in ABOVE | BELOW and len(args) == 2 and any(_followed(value) for value in args):
            difference = args[0] - args[1] if name in ABOVE else args[1] - args[0]
            return self._remember(func(*args, **kwargs), difference)
        if name in SUMS:
            return func(*(self._float(value) for value in args), **kwargs)
        result = func(*args, **kwargs)
        if name in CASTS and isinstance(first, Tensor):
            if _followed(first) and not result.is_floating_point():
                return self._remember(result, first)
            if id(first) in self.sources:
                source = self.sources[id(first)][1]
                return _through(result, source) if result.is_floating_point() else self._remember(result, source)
        return result

    def _remember(self, result: Tensor, source: Tensor) -> Tensor:
        self.sources[id(result)] = (result, source)
        return result

    def _float(self, value: Any) -> Any:
        if id(value) not in self.sources:
            return value
        result, source = self.sources[id(value)]
        return _through(result.to(source.dtype), source)


def _followed(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad


def _through(result: Tensor, source: Tensor) -> Tensor:
    """The result's values with the source's gradient: the difference added is exactly zero."""
    return result.detach() + (source - source.detach()).to(result.dtype)


def _cut(func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A remainder is what rounding takes away, so that x - x % q has the gradient of x."""
    return func(*args, **kwargs).detach()
