"""How commands name a network."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def build(model: str, factory: str | None) -> "nn.Module":
    """Load the weights in a file; a colon in a name that is no file means a factory, weights and all.

    The network is on the accelerator, if there is one.

    Raises:
        SettingError: a factory is named beside a factory.
        ModelError: the network cannot be built or loaded.
    """
    from retemper.errors import SettingError
    from retemper.models import from_factory
    from retemper.models import load as load_model
    from retemper.process_group import join

    if Path(model).exists() or ":" not in model:
        return load_model(model, factory).to(join().device)
    if factory is not None:
        raise SettingError(
            f"Expected a file of weights for the factory {factory}, but got another factory, {model}; name one of them."
        )
    return from_factory(model).to(join().device)
