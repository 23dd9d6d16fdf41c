"""What one training run is made of, checked before anything is computed."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from retemper.checks import as_seed, at_least_one, is_number, plain
from retemper.data import AUGMENTATIONS
from retemper.errors import SettingError
from retemper.training.optimisers import LEARNING_RATES, OPTIMISERS, SCHEDULES
from retemper.training.precision import PRECISIONS


@dataclass(frozen=True)
class Settings:
    """How long and how a model is trained.

    Attributes:
        epochs: passes over the training data.
        batch_size: images a step, over all processes.
        optimiser: a key of `OPTIMISERS`.
        learning_rate: at its highest; None takes the optimiser's default.
        weight_decay: decoupled where the optimiser has it so.
        schedule: of the learning rate, a key of `SCHEDULES`.
        augmentation: a key of `retemper.data.AUGMENTATIONS`.
        precision: "fp32", "bf16" (autocast, weights stay fp32), or "auto": bf16 where it pays.
        seed: of the order of the images, the augmentation and random starts.

    Raises:
        SettingError: an unknown name, or a number out of range.
    """

    epochs: int = 5
    batch_size: int = 128
    optimiser: str = "adam"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: str = "cosine"
    augmentation: str = "none"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        choices: dict[str, Collection[str]] = {
            "optimiser": OPTIMISERS,
            "schedule": SCHEDULES,
            "augmentation": AUGMENTATIONS,
            "precision": PRECISIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SettingError(
                    f"Expected `{name}` to be one of {', '.join(known)}, but got {getattr(self, name)!r}."
                )
        at_least_one(epochs=self.epochs, batch_size=self.batch_size)
        as_seed(self.seed)
        if self.learning_rate is not None:
            is_number(learning_rate=self.learning_rate)
            if not self.learning_rate > 0:
                raise SettingError(f"Expected `learning_rate` to be above 0, but got {self.learning_rate}.")
        is_number(weight_decay=self.weight_decay)
        if not self.weight_decay >= 0:
            raise SettingError(f"Expected `weight_decay` to be 0 or more, but got {self.weight_decay}.")

    @property
    def rate(self) -> float:
        """The learning rate, or the optimiser's default."""
        return LEARNING_RATES[self.optimiser] if self.learning_rate is None else self.learning_rate

    def as_dict(self) -> dict[str, Any]:
        """For results files."""
        return asdict(self)


def read_settings(settings: dict[str, Any]) -> Settings:
    """Settings from keywords.

    Raises:
        SettingError: a keyword that is none, or an impossible value.
    """
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise SettingError(f"There is no setting {name!r}; the settings are {', '.join(known)}.")
    return Settings(**settings)
