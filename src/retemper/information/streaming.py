"""One layer's figures, gathered while its outputs stream by."""

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import LayerError
from retemper.information import gram
from retemper.information.fused_entropy import entropies
from retemper.information.layer_profile import QUANTITIES, LayerProfile
from retemper.information.resampling import Estimate


class LayerStream:
    """Sums over images, for the figure itself and for each replicate, and the outputs of the first `gram_images`.

    In memory: float32 of `gram_images` x units, and of (1 + replicates) x units.
    """

    def __init__(self, layer: str, output: Float[Tensor, "images *shape"], columns: int, gram_images: int) -> None:
        self._layer, self._units, self._gram_images = layer, output[:1].numel(), gram_images
        self._images = 0
        self._weights = torch.zeros(columns, dtype=torch.float64)
        self._entropies = torch.zeros(columns, dtype=torch.float64)
        self._fired = torch.zeros(columns, self._units, device=output.device)
        self._kept: list[Tensor] = []
        self._kept_weights: list[Tensor] = []

    def add(self, output: Float[Tensor, "images *shape"], weights: Float[Tensor, "images columns"]) -> None:
        """Take in the outputs of some more images.

        Raises:
            LayerError: there is not one row an image, or the rows have another length than before.
        """
        if len(output) != len(weights) or output[:1].numel() != self._units:
            raise LayerError(
                f"Expected layer {self._layer!r} to put out {self._units} numbers for each of {len(weights)} images, "
                f"but got shape {tuple(output.shape)}; choose other layers with `layers`."
            )
        rows = output.reshape(len(output), -1).float()
        wanted = self._gram_images - self._images
        if wanted > 0:
            # A copy: a slice would keep the whole batch.
            self._kept.append(rows[:wanted].cpu().clone())
            self._kept_weights.append(weights[:wanted].double())
        self._images += len(rows)
        self._weights += weights.double().sum(0)
        self._entropies += entropies(rows).cpu().double() @ weights.double()
        self._fired += weights.to(rows.device).T @ (rows > 0).float()

    def finish(self) -> LayerProfile:
        """The figures of the layer."""
        active, unit_entropy = self._firing()
        products, weights = gram.gram(self._kept), torch.cat(self._kept_weights)
        values = {
            "active": active,
            "activation_entropy": self._entropies / self._weights,
            "unit_entropy": unit_entropy,
            "renyi_entropy": gram.renyi_entropy(products).reweighted(weights),
            "effective_rank": gram.effective_rank(products).reweighted(weights),
        }
        estimates = {quantity: Estimate.of(values[quantity]) for quantity in QUANTITIES}
        with_replicates = len(self._weights) > 1
        return LayerProfile(
            layer=self._layer,
            units=self._units,
            images=self._images,
            gram_images=len(products),
            **{quantity: estimate.value for quantity, estimate in estimates.items()},
            replicates={quantity: estimate.replicates for quantity, estimate in estimates.items() if with_replicates},
        )

    def _firing(self) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
        """The share of units above zero, and the binary entropy of the units' rates averaged over units."""
        active, entropy = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        # One column at a time: all of them in float64 would be the largest thing in memory.
        for column, (fired, total) in enumerate(zip(self._fired.cpu(), self._weights, strict=True)):
            rates = fired.double() / total
            active[column] = rates.mean()
            entropy[column] = (torch.special.entr(rates) + torch.special.entr(1 - rates)).mean()
        return active, entropy
