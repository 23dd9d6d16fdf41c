"""Options that several commands share, each explained once."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from retemper.errors import SettingError

LIST = "<str>"  # typer's own <list[str]> is so wide that it leaves no room for the longest names at 80 columns

Data = Annotated[
    str,
    typer.Option(
        help="Data set: `digits` and `breast-cancer` (come with a dependency), `mnist`, `cifar10`, a Hugging Face Hub "
        "id such as `ylecun/mnist`, a local parquet or image folder, an .npz or .safetensors file."
    ),
]
Classes = Annotated[
    str, typer.Option(help="Only these classes, by name, separated by commas: `airplane,horse`. Empty: all.")
]
_MODEL = (
    "Network: `small-cnn`, `lenet5`, `madry-cnn`, `entropic-cnn`, `entropic-cnn-unpadded`, `mlp`, `preact-resnet18`, "
    "`preact-resnet18-small`, `lipschitz-cnn` (to be certified), or your own as `package.module:factory`."
)
_ACTIVATION = "Activation function of a network by name: relu, gelu, silu, softplus, elu, tanh, leaky-relu."
Model = Annotated[str, typer.Option(help=_MODEL)]
ModelOrNone = Annotated[
    str | None, typer.Option(help=f"{_MODEL} With --from: your own, if the file is of one. Default: `small-cnn`.")
]
Activation = Annotated[str, typer.Option(help=_ACTIVATION)]
ActivationOrNone = Annotated[str | None, typer.Option(help=f"{_ACTIVATION} Default: relu.")]
_THREAT = (
    "How far an attack may move an input: `linf:8/255`, `l2:0.5`, several radii as `linf:0.1,0.2`. May be repeated. "
    "Inputs live in [0, 1]."
)
Threats = Annotated[list[str], typer.Option("--threat", metavar=LIST, help=_THREAT)]
ThreatsOrNone = Annotated[
    list[str] | None,
    typer.Option("--threat", metavar=LIST, help=f"{_THREAT} Default: that of the claim, or `linf:0.1`."),
]
Split = Annotated[
    str,
    typer.Option(
        help="Which images are attacked: `validation` to choose weights and settings by, `test` for the figures that "
        "are reported, once, or `train`."
    ),
]
Images = Annotated[int, typer.Option(help="How many images to attack: the first so many.")]
Attacks = Annotated[
    str,
    typer.Option(
        help="Attacks, separated by commas, out of fgsm, pgd-ce, pgd-margin, pgd-dlr, apgd-ce, apgd-margin, apgd-dlr, "
        "apgd-targeted, fab, fab-targeted, square, fmn, deepfool. An image counts as robust only if none breaks it."
    ),
]
Steps = Annotated[int, typer.Option(help="Gradient steps of each attack, but fgsm (one) and square (queries).")]
Restarts = Annotated[int, typer.Option(help="Random starts of pgd, apgd (but targeted) and fab; others have none.")]
BatchSize = Annotated[int, typer.Option(help="Images in a training step.")]
Optimiser = Annotated[str, typer.Option(help="adam, adamw or sgd (Nesterov momentum 0.9).")]
LearningRate = Annotated[
    float | None, typer.Option(help="Highest learning rate. Default: 0.001 for adam and adamw, 0.05 for sgd.")
]
WeightDecay = Annotated[float, typer.Option(help="Weight decay.")]
Schedule = Annotated[str, typer.Option(help="Learning rate over time: cosine, constant, linear or one-cycle.")]
_AUGMENTATION = "Random changes to training images: none, crop, flip, crop-and-flip."
Augmentation = Annotated[str, typer.Option(help=_AUGMENTATION)]
AugmentationOrNone = Annotated[
    str | None, typer.Option(help=f"{_AUGMENTATION} Default: crop-and-flip for cifar10, otherwise none.")
]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, bf16, or auto: bf16 for training on images of 16 x 16 or more where the processor has units for it."
    ),
]
Weights = Annotated[
    Path, typer.Argument(help="The network's weights in safetensors, such as `model.safetensors` of `retemper train`.")
]
Factory = Annotated[
    str | None,
    typer.Option(
        "--model", help="`package.module:factory` that builds the network, for weights of one that is your own."
    ),
]
Resume = Annotated[bool, typer.Option(help="Go on from what is in --out; --no-resume starts over.")]
Progress = Annotated[bool, typer.Option(help="Show one line that says how far it is.")]


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers or fractions separated by commas.

    Raises:
        SettingError: something else, or nothing.
    """
    try:
        found = tuple(float(Fraction(part)) for part in names(text))
    except (ValueError, ArithmeticError):
        found = ()
    if not found:
        raise SettingError(f"Expected numbers separated by commas, such as 0.01,0.1 or 2/255, but got {text!r}.")
    return found
