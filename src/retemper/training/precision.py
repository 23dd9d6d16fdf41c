"""Where lower precision pays."""

import contextlib

import torch

from retemper.models.layout import channels_last_pays

PRECISIONS = ("auto", "fp32", "bf16")


def resolve(precision: str, device: torch.device, shape: tuple[int, ...]) -> str:
    """What "auto" means: bf16 for images on a processor that multiplies in it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if channels_last_pays(shape) and _has_bf16_units(device) else "fp32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to bf16, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def _has_bf16_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # No public call says so; without the names there is nothing that torch would use.
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in names)
