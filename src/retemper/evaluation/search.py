"""The search for adversarial inputs on one chunk of images: every attack in turn on what still stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from retemper.attacks.losses import margin
from retemper.errors import GradientError
from retemper.evaluation.attack_plan import Attack
from retemper.evaluation.judged import Judge
from retemper.noise import Noise
from retemper.threats import Threat, per_image

SMALLER = "smaller radius"


@dataclass
class Broken:
    """What is known of each image of a chunk at the threats of one norm.

    Attributes:
        distances: in float64, the smallest at which it was broken; 0 if it is answered wrongly as it is,
            infinite if nothing broke it.
        points: the adversarial input at that distance, or the image itself.
        predicted: the answer there.
        broken_by: for each threat, how many images each attack was the first to break.
        by_gradients: in float64, the smallest distance at which gradients of the model itself led there (see
            `Attack.gradients`); infinite if none did.
    """

    distances: Float[Tensor, " images"]
    points: Float[Tensor, "images *shape"]
    predicted: Int[Tensor, " images"]
    broken_by: list[dict[str, int]]
    by_gradients: Float[Tensor, " images"]

    def note(
        self,
        places: Int[Tensor, " fallen"],
        points: Float[Tensor, "fallen *shape"],
        predicted: Int[Tensor, " fallen"],
        distances: Float[Tensor, " fallen"],
        *,
        gradients: bool,
    ) -> None:
        """Take in adversarial inputs that are closer than what was known, found by gradients of the model or not."""
        if gradients:
            self.by_gradients[places] = self.by_gradients[places].fmin(distances)
        closer = distances < self.distances[places]
        places = places[closer]
        self.distances[places], self.points[places] = distances[closer], points[closer]
        self.predicted[places] = predicted[closer]


def grouped(threats: Sequence[Threat]) -> list[list[Threat]]:
    """The threats by norm and bounds, each once, from small radii to large ones."""
    ordered = sorted(set(threats), key=lambda threat: (threat.norm, threat.bounds, threat.radius))
    return [list(group) for _, group in groupby(ordered, key=lambda threat: (threat.norm, threat.bounds))]


class Search:
    """The attacks on one chunk.

    Args:
        judge: the model, and what counts as its answer.
        inputs: of the chunk, on the model's device.
        labels: one an image.
        numbers: the images' places in the split, which key their noise.
        attacks: in their order.
        closest: a minimum-norm attack to begin each norm with, or None.
        seed: of the noise.
        forgiving: an attack that needs gradients where there are none breaks nothing, instead of raising.
        advance: called with the number of images that each attack is done with.
    """

    def __init__(
        self,
        judge: Judge,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        numbers: Int[Tensor, " images"],
        *,
        attacks: Sequence[Attack],
        closest: Attack | None,
        seed: int,
        forgiving: bool,
        advance: Callable[[int], None],
    ) -> None:
        self.judge, self.inputs, self.labels, self.numbers = judge, inputs, labels, numbers
        self.attacks, self.closest, self.seed = attacks, closest, seed
        self.forgiving, self.advance = forgiving, advance
        self.predicted, outputs = judge(inputs)
        self.first = margin(outputs, labels)
        self.reached = self.first.clone()

    def norm(self, threats: Sequence[Threat]) -> Broken:
        """Everything at the threats of one norm, from small radii to large ones."""
        right = self.predicted == self.labels
        distances = torch.where(right, torch.inf, 0.0).double()
        unbroken = torch.full_like(distances, torch.inf)
        broken = Broken(distances, self.inputs.clone(), self.predicted.clone(), [], unbroken)
        if self.closest is not None:
            self._closest(threats[-1], broken)
        # Begun after it: what it reached lies at any distance, and would make every image look near to falling.
        self.reached = self.first.clone()
        before = torch.zeros_like(right)
        for threat in threats:
            inside = right & (broken.distances <= threat.radius)
            counts = {SMALLER: int((inside & before).sum())}
            if self.closest is not None:
                counts[self.closest.name] = int((inside & ~before).sum())
            broken.broken_by.append(counts)
            for attack in self.attacks:
                known = broken.distances.clone()
                self._run(attack, threat, self._worth_it(attack, right & (known > threat.radius)), broken)
                # What it found may lie within the smaller radii, too.
                for met, by in zip(threats, broken.broken_by, strict=False):
                    fell = right & (known > met.radius) & (broken.distances <= met.radius)
                    by[attack.name] = by.get(attack.name, 0) + int(fell.sum())
                self.advance(len(self.inputs))
            before = right & (broken.distances <= threat.radius)
        broken.broken_by = [{name: count for name, count in by.items() if count} for by in broken.broken_by]
        return broken

    def _closest(self, threat: Threat, broken: Broken) -> None:
        assert self.closest is not None
        places = (self.predicted == self.labels).nonzero()[:, 0]
        # Its points may lie at any distance: within bounds is all that they have to be.
        anywhere = threat.with_radius(torch.finfo(self.inputs.dtype).max ** 0.5)
        self._run(self.closest, anywhere, places, broken)
        self.advance(len(self.inputs))

    def _worth_it(self, attack: Attack, standing: Bool[Tensor, " images"]) -> Int[Tensor, " chosen"]:
        if attack.near is not None:
            standing = standing & (self.reached > attack.near * self.first)
        return standing.nonzero()[:, 0]

    def _run(self, attack: Attack, threat: Threat, places: Int[Tensor, " tried"], broken: Broken) -> None:
        if len(places) == 0:
            return
        inputs, labels = self.inputs[places], self.labels[places]
        noise = Noise.keyed(self.numbers[places], self.seed, attack.name)
        try:
            with self.judge.repeatable(self.seed):
                candidates = attack.run(self.judge.model, inputs, labels, threat, noise)
        except GradientError:
            if not self.forgiving:
                raise
            return
        inside = threat.allows(candidates, inputs)
        # The model is asked about nothing outside the threat, where even NaN would be no fault of its own.
        candidates = torch.where(per_image(inside, candidates), candidates, inputs)
        predicted, outputs = self.judge(candidates)
        fallen = inside & (predicted != labels)
        distances = threat.distance(candidates, inputs).clamp_max(threat.radius)
        found = places[fallen], candidates[fallen], predicted[fallen], distances[fallen]
        broken.note(*found, gradients=attack.gradients)
        self.reached[places] = self.reached[places].fmax(margin(outputs, labels))
