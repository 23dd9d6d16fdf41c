"""Threat models: how far an input may be moved, in which norm, and inside which bounds."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.noise import Noise


@dataclass(frozen=True)
class Threat(ABC):
    """All inputs within `radius` of the original, in the norm of the class, and within `bounds`.

    Inside means: differences taken in float64 exceed the radius by no more than one rounding of the
    input's own type.

    Raises:
        SettingError: the radius is not a positive finite number, or the bounds are not in order.
    """

    radius: float
    bounds: tuple[float, float] = (0.0, 1.0)
    norm: ClassVar[str]
    dual: ClassVar[Literal["l1", "l2"]]

    def __post_init__(self) -> None:
        try:
            # Numbers of NumPy's do not print as numbers, and a list of bounds cannot be a key.
            object.__setattr__(self, "radius", float(self.radius))
            low, high = self.bounds
            object.__setattr__(self, "bounds", (float(low), float(high)))
        except (TypeError, ValueError):
            raise SettingError(
                f"Expected `radius` to be a number and `bounds` to be two, but got {self.radius!r} and {self.bounds!r}."
            ) from None
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise SettingError(f"Expected `radius` to be a positive finite number, but got {self.radius}.")
        if not self.bounds[0] < self.bounds[1]:
            raise SettingError(f"Expected `bounds` to be (low, high) with low < high, but got {self.bounds}.")

    def __str__(self) -> str:
        """The spelling that `parse` reads: `linf:8/255`, `l2:0.5`."""
        spellings = (f"{self.radius:g}", f"{round(self.radius * 255)}/255", repr(self.radius))
        return f"{self.norm}:{next(text for text in spellings if _radius(text) == self.radius)}"

    @property
    def in_full(self) -> str:
        """The spelling, and bounds that are not [0, 1]: what makes the threat the one that it is."""
        return str(self) if self.bounds == (0.0, 1.0) else f"{self} in {list(self.bounds)}"

    def with_radius(self, radius: float) -> Self:
        """The same norm and bounds at another radius."""
        return replace(self, radius=radius)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raise a SettingError where inputs are no batch of floats, not finite, or outside the bounds."""
        if inputs.dtype not in (torch.float32, torch.float64):
            raise SettingError(
                f"Expected inputs in float32 or float64, but got {inputs.dtype}; attacks in lower "
                "precision cannot be trusted: convert with `inputs.float()`."
            )
        if inputs.dim() < 2 or inputs.numel() == 0:
            raise SettingError(
                "Expected inputs with a first dimension that counts them, and at least one of them, but got a tensor "
                f"of shape {tuple(inputs.shape)}."
            )
        low, high = torch.aminmax(inputs)
        if not (low.isfinite() and high.isfinite()):
            raise SettingError("Expected finite inputs, but they contain NaN or infinity.")
        # Compared as tensors, so that bounds are rounded as the inputs are.
        if low < self.bounds[0] or high > self.bounds[1]:
            raise SettingError(
                f"Expected inputs within the bounds [{self.bounds[0]:g}, {self.bounds[1]:g}], but they reach "
                f"from {low:.4g} to {high:.4g}. If they are normalised, undo it and put the normalisation into "
                "the model (retemper.models.Normalise), or name other bounds in the threat."
            )

    def project(
        self, candidates: Float[Tensor, "images *shape"], inputs: Float[Tensor, "images *shape"]
    ) -> Float[Tensor, "images *shape"]:
        """The candidates moved into the ball, then into the bounds; those inside both stay where they are.

        For Linf that is the nearest point of the threat; for L2, as in most attacks, one near it.
        """
        return self._into_ball(candidates, inputs).clamp(*self.bounds)

    def allows(
        self, candidates: Float[Tensor, "images *shape"], inputs: Float[Tensor, "images *shape"]
    ) -> Bool[Tensor, " images"]:
        """Whether each candidate lies in the threat, but for one rounding of the input's own type."""
        flat = candidates.flatten(1)
        within_bounds = ((flat >= self.bounds[0]) & (flat <= self.bounds[1])).all(1)
        largest = torch.maximum(flat.abs().amax(1), inputs.flatten(1).abs().amax(1)).clamp_min(self.radius)
        rounding = torch.finfo(inputs.dtype).eps * largest
        return within_bounds & (self.distance(candidates, inputs) <= self.radius + rounding)

    @abstractmethod
    def _into_ball(self, candidates: Tensor, inputs: Tensor) -> Tensor: ...

    @abstractmethod
    def distance(
        self, candidates: Float[Tensor, "images *shape"], inputs: Float[Tensor, "images *shape"]
    ) -> Float[Tensor, " images"]:
        """How far each candidate is from its input, computed in float64."""

    @abstractmethod
    def steepest(self, gradient: Float[Tensor, "images *shape"]) -> Float[Tensor, "images *shape"]:
        """The direction of norm one along which a function with this gradient rises fastest (zero stays zero)."""

    @abstractmethod
    def random_start(self, inputs: Float[Tensor, "images *shape"], noise: Noise) -> Float[Tensor, "images *shape"]:
        """A point drawn uniformly from the ball around each input, clamped to the bounds."""


class Linf(Threat):
    """Every coordinate may move by at most `radius`.

    >>> print(Linf(8 / 255), Linf(0.3).dual)
    linf:8/255 l1
    """

    norm = "linf"
    dual = "l1"

    def _into_ball(self, candidates: Tensor, inputs: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(candidates, inputs + self.radius), inputs - self.radius)

    def distance(
        self, candidates: Float[Tensor, "images *shape"], inputs: Float[Tensor, "images *shape"]
    ) -> Float[Tensor, " images"]:
        """The largest difference of a coordinate, in float64."""
        return (candidates.double() - inputs.double()).flatten(1).abs().amax(1)

    def steepest(self, gradient: Float[Tensor, "images *shape"]) -> Float[Tensor, "images *shape"]:
        """The sign of the gradient."""
        return gradient.sign()

    def random_start(self, inputs: Float[Tensor, "images *shape"], noise: Noise) -> Float[Tensor, "images *shape"]:
        """A point drawn uniformly from the cube around each input, clamped to the bounds."""
        steps = self.radius * (2 * noise.uniform(*inputs.shape[1:], dtype=inputs.dtype) - 1)
        return self.project(inputs + steps, inputs)


class L2(Threat):
    """The whole difference may be at most `radius` long.

    >>> L2(0.5).distance(torch.tensor([[0.3, 0.4]]), torch.zeros(1, 2))
    tensor([0.5000], dtype=torch.float64)
    """

    norm = "l2"
    dual = "l2"

    def _into_ball(self, candidates: Tensor, inputs: Tensor) -> Tensor:
        difference = candidates.double() - inputs.double()
        length = per_image(torch.linalg.vector_norm(difference.flatten(1), dim=1), inputs)
        shorter = difference * (self.radius / length)
        moved = (inputs.double() + shorter).to(inputs.dtype)
        # Every coordinate is rounded towards the input, since roundings outwards add up over many coordinates.
        too_far = (moved.double() - inputs.double()).abs() > shorter.abs()
        moved = torch.where(too_far, torch.nextafter(moved, inputs), moved)
        return torch.where(length > self.radius, moved, candidates)

    def distance(
        self, candidates: Float[Tensor, "images *shape"], inputs: Float[Tensor, "images *shape"]
    ) -> Float[Tensor, " images"]:
        """The length of the difference, in float64."""
        return torch.linalg.vector_norm((candidates.double() - inputs.double()).flatten(1), dim=1)

    def steepest(self, gradient: Float[Tensor, "images *shape"]) -> Float[Tensor, "images *shape"]:
        """The gradient scaled to length one; a zero gradient stays zero."""
        # Scaled by the largest entry first, since squares of very small gradients vanish in float32.
        largest = per_image(gradient.flatten(1).abs().amax(1), gradient)
        scaled = torch.where(largest > 0, gradient / largest, torch.zeros_like(gradient))
        length = per_image(torch.linalg.vector_norm(scaled.flatten(1), dim=1), gradient)
        return scaled / length.clamp_min(1)

    def random_start(self, inputs: Float[Tensor, "images *shape"], noise: Noise) -> Float[Tensor, "images *shape"]:
        """A point drawn uniformly from the ball around each input, clamped to the bounds."""
        direction = self.steepest(noise.at(0).normal(*inputs.shape[1:], dtype=inputs.dtype))
        share = noise.at(1).uniform(dtype=inputs.dtype) ** (1 / inputs[0].numel())
        return self.project(inputs + direction * per_image(share * self.radius, inputs), inputs)


def per_image(values: Float[Tensor, " images"], like: Float[Tensor, "images *shape"]) -> Tensor:
    """Reshape one value an image so that it multiplies a tensor of images of any rank."""
    return values.view(-1, *[1] * (like.dim() - 1))


NORMS: dict[str, type[Threat]] = {"linf": Linf, "l2": L2}


def several(threats: Threat | Sequence[Threat]) -> tuple[Threat, ...]:
    """The threats, of which a single one may come alone.

    Raises:
        SettingError: there is none, or something is no threat.
    """
    found: tuple[Any, ...] = (threats,) if isinstance(threats, Threat | str) else tuple(threats)
    if not found:
        raise SettingError("Expected at least one threat, such as Linf(8 / 255), but got none.")
    for threat in found:
        if not isinstance(threat, Threat):
            read = ", as retemper.threats.parse reads them" if isinstance(threat, str) else ""
            raise SettingError(f"Expected threats, such as Linf(8 / 255){read}, but got {threat!r}.")
    return found


def parse(text: str) -> list[Threat]:
    """Read threats as the command line spells them: a norm and one or more radii, as numbers or fractions.

    >>> [str(threat) for threat in parse("linf:2/255,8/255")]
    ['linf:2/255', 'linf:8/255']

    Raises:
        SettingError: the norm is unknown, a radius is no positive number, or one of Linf allows every input in [0, 1].
    """
    match = re.fullmatch(r"(\w+):([^:]+)", text.strip())
    if match is None or match[1].lower() not in NORMS:
        raise SettingError(f"Expected a threat such as linf:8/255, linf:0.1,0.3 or l2:0.5, but got {text!r}.")
    try:
        radii = [_radius(radius) for radius in match[2].split(",")]
    except (ValueError, ArithmeticError):
        raise SettingError(
            f"Expected radii such as 0.3 or 8/255, separated by commas, but got {match[2]!r} in {text!r}."
        ) from None
    kind = NORMS[match[1].lower()]
    for radius in radii:
        if kind is Linf and radius >= 1:
            raise SettingError(
                f"Expected a radius below 1, since inputs in [0, 1] all lie within 1 of each other, but got {text!r}; "
                f"is it linf:{radius:g}/255?"
            )
    return [kind(radius) for radius in radii]


def _radius(text: str) -> float:
    return float(Fraction(text.strip()))
