"""An untrained network for a data set: by name or a user's own, with the weights of a seed."""

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from retemper.checks import as_seed
from retemper.data import Data
from retemper.errors import SettingError
from retemper.models import create, from_factory
from retemper.training.fit import check_fit


def fresh(model: str, data: Data, *, activation: str = "relu", seed: int = 0) -> nn.Module:
    """Build a network whose inputs, classes and normalisation are those of the data.

    Args:
        model: a key of `retemper.models.NETWORKS`, or `package.module:factory`, which is called as it is.
        data: its training images give the mean and standard deviation of the first layer.
        activation: of a network by name; a factory chooses its own, so that nothing but the default goes with one.
        seed: of the weights; torch's global generator is left as it was.

    Raises:
        SettingError: an unknown network or activation, one beside a factory, or a seed outside [0, 2**32).
        ModelError: the factory fails, or the network does not take inputs of this shape. Of a factory's network that is
            seen here only where the data has to make its lazy layers.
    """
    seed = as_seed(seed)
    if ":" in model and activation != "relu":
        raise SettingError(
            f"Expected no activation beside the factory {model}, which builds its network as it is, but got "
            f"{activation!r}; leave it out, or let the factory take it."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone: a seed for all would stay with accelerators
        if ":" in model:
            built = from_factory(model)
            if any(map(is_lazy, (*built.parameters(), *built.buffers()))):
                check_fit(built, data)  # the first inputs make them, with weights drawn there and then
            return built
        mean, std = data.mean_and_std()
        return create(model, shape=data.shape, classes=len(data.classes), activation=activation, mean=mean, std=std)
