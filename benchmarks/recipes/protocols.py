"""What the recipes are trained and attacked on."""

from dataclasses import dataclass

from retemper.threats import L2, Linf, Threat

IMAGES = 1000
SEEDS = 3  # of the recipe, of what is added to it and of what takes turns with it; everything else has one


@dataclass(frozen=True)
class Protocol:
    """One data set, one network, one threat to train against.

    Attributes:
        name: on the command line.
        data: as `retemper.load` takes it.
        model: a network by name.
        threats: that networks are attacked at; all rows but one train against the first alone.
        epochs: of every training.
        floor: the clean accuracy on validation images below which no way is chosen, if its row has one above.
        rows: that it has; empty for all.
        seeds: of the rows that have several.
        augmentation: of every training.
        ablation: whether the recipe is also trained with each of its choices made otherwise.
    """

    name: str
    data: str
    model: str
    threats: tuple[Threat, ...]
    epochs: int
    floor: float
    rows: tuple[str, ...] = ()
    seeds: int = SEEDS
    augmentation: str = "none"
    ablation: bool = False


# On MNIST the floor is what is asked of the recipe, on CIFAR-10 about what PGD training leaves of clean accuracy. The
# digits come with a dependency, so that anybody can run all of it.
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("digits", "digits", "small-cnn", (Linf(0.15), L2(0.5)), epochs=40, floor=0.95, ablation=True),
        Protocol("mnist-linf", "mnist", "lenet5", (Linf(0.1),), epochs=5, floor=0.98),
        Protocol("mnist-l2", "mnist", "lenet5", (L2(1.5),), epochs=5, floor=0.98),
        Protocol(
            "cifar10",
            "cifar10",
            "entropic-cnn",
            (Linf(8 / 255), L2(0.5)),
            epochs=10,
            floor=0.57,
            augmentation="flip",
        ),
        # The same recipe on a network of another kind: does it carry over, untouched?
        Protocol(
            "cifar10-resnet",
            "cifar10",
            "preact-resnet18-small",
            (Linf(8 / 255), L2(0.5)),
            epochs=10,
            floor=0.57,
            rows=("recipe", "plain", "pgd", "recipe, every threat"),
            seeds=1,
            augmentation="flip",
        ),
    )
}


def in_file_names(threat: Threat | str) -> str:
    """A threat without the signs that file names cannot have."""
    return str(threat).replace("/", "_").replace(":", "-")
