"""What a comparison is made of, and the command that repeats it."""

import shlex
from dataclasses import asdict, dataclass, fields
from typing import Any

from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.evaluation import plan
from retemper.objectives import preset
from retemper.threats import Threat, parse
from retemper.training import Settings

ATTACKED = ("test", "validation", "train")


@dataclass(frozen=True)
class Comparison:
    """A comparison, option by option, under the names that the command line has.

    Attributes:
        data: a name, a Hub id, a folder or a file, as `retemper.load` takes it.
        classes: only these classes, in this order; empty takes all.
        model: a network by name, or `package.module:factory`.
        activation: of a network by name.
        objectives: ways of training, `name` or `name:weight`.
        threats: what every network is attacked with, such as "linf:0.1,0.2".
        train_threat: what `recipe` and `pgd` train against; None takes the first threat's largest radius.
        epochs: of the plainly trained network, from which retraining starts.
        retrain_epochs: of retraining; methods that do not retrain train for both, from fresh weights.
        seeds: how many, from 0 on.
        split: which images are attacked: "validation" to choose settings by, "test" for figures to report, or "train".
        images: how many of them, the first ones.
        attacks: by name, see `retemper.evaluation.ATTACKS`.
        steps: of each attack.
        restarts: of each attack.
        batch_size: as for `retrain`, and so are the following.

    Raises:
        SettingError: an unknown name, or a number out of range.
    """

    data: str = "digits"
    classes: tuple[str, ...] = ()
    model: str = "small-cnn"
    activation: str = "relu"
    objectives: tuple[str, ...] = ("plain", "entropic", "differential", "recipe", "pgd")
    threats: tuple[str, ...] = ("linf:0.1",)
    train_threat: str | None = None
    epochs: int = 10
    retrain_epochs: int = 2
    seeds: int = 3
    split: str = "test"
    images: int = 1000
    attacks: tuple[str, ...] = ("apgd-ce", "apgd-dlr")
    steps: int = 100
    restarts: int = 1
    batch_size: int = 128
    optimiser: str = "adam"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: str = "cosine"
    augmentation: str = "none"
    precision: str = "auto"

    def __post_init__(self) -> None:
        at_least_one(
            retrain_epochs=self.retrain_epochs,
            seeds=self.seeds,
            images=self.images,
            steps=self.steps,
            restarts=self.restarts,
        )
        if self.split not in ATTACKED:
            raise SettingError(f"Expected `split` to be one of {', '.join(ATTACKED)}, but got {self.split!r}.")
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise SettingError(f"Expected one or more different objectives, but got {', '.join(self.objectives)!r}.")
        # Whatever is wrong is found before anything is trained.
        threats = [str(threat) for threat in self.all_threats()]
        if len(set(threats)) < len(threats):
            raise SettingError(f"Expected different threats, but got {' '.join(threats)}.")
        self.training(seed=0, epochs=self.epochs)
        for objective in self.objectives:
            preset(objective, [self.training_threat()])
        plan(self.attacks, steps=self.steps, restarts=self.restarts)

    def all_threats(self) -> list[Threat]:
        """Every threat that the networks are attacked with."""
        if not self.threats:
            raise SettingError("Expected one or more threats such as linf:0.1, but got none.")
        return [threat for text in self.threats for threat in parse(text)]

    def training_threat(self) -> Threat:
        """What adversarial training trains against."""
        return max(parse(self.train_threat or self.threats[0]), key=lambda threat: threat.radius)

    def training(self, *, seed: int, epochs: int) -> Settings:
        """The settings of one training run."""
        shared = {field.name for field in fields(Settings)} & {field.name for field in fields(self)}
        return Settings(**{name: getattr(self, name) for name in shared} | {"seed": seed, "epochs": epochs})

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def command(self) -> str:
        """The command that repeats it; options at their defaults are left out, for as long as these stay."""
        words = ["retemper", "compare"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("data", "model", "objectives", "threats") or value != field.default:
                option = {"threats": "threat"}.get(field.name, field.name)
                values = value if option == "threat" else [",".join(value) if isinstance(value, tuple) else str(value)]
                for text in values:
                    words += [f"--{option.replace('_', '-')}", text]
        return shlex.join(words)
