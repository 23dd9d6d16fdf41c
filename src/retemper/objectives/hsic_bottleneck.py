"""The HSIC bottleneck as a regulariser: layers that depend on the labels, and little on the inputs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.activations import Layers
from retemper.errors import SettingError
from retemper.information.hsic import centred_kernel, gaussian_kernel, shrunk_kernel
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class HSICBottleneck(Term):
    """The sum over layers l of inputs * HSIC(X, Z_l) - labels * HSIC(Y, Z_l) (Wang et al. 2021, 2106.02734).

    Added to cross-entropy, over one batch; a layer that forgets the input and knows the class has a low value. The
    kernels of inputs and layers are Gaussian with s = bandwidth * sqrt(units); that of labels is 1 for equal classes
    and 0 for others, to which, once centred, a Gaussian one of one-hot labels is proportional.

    Their public code trains with the normalised form tr(R_X R_Z), R = HKH (HKH + 1e-5 N)^-1, and so does this by
    default: plain HSIC at their bandwidth is below 1e-5 in a fresh network and hangs on the scale of the layer. Both
    weights and the bandwidth are theirs for CIFAR-10 with batches of 128; for MNIST they use 1 and 50 with batches of
    256. The normalised form grows with the batch, up to N - 1. Ours: inputs in [0, 1] as they come, before the model's
    own normalisation, and by default every nonlinearity.

    A batch alone has a value, no image: attacks that climb the term mix the images, and training shared among
    processes takes each one's own batch.

    Args:
        layers: which; "all" is every nonlinearity that is a module.
        inputs: the weight of the dependence on the inputs.
        labels: the weight of the dependence on the labels.
        bandwidth: of the Gaussian kernels, in units of sqrt(units).
        normalised: False for the biased estimator tr(K H L H) / (N - 1)^2.

    Raises:
        SettingError: a weight that is no finite number, or a bandwidth that is not positive.
        LayerError: at the first batch, where no layer fits or the model runs one with gradients off.
    """

    layers: Layers = "all"
    inputs: float = 0.006
    labels: float = 0.05
    bandwidth: float = 5.0
    normalised: bool = True

    name = "hsic-bottleneck"

    def __post_init__(self) -> None:
        for name, weight in (("inputs", self.inputs), ("labels", self.labels)):
            if not math.isfinite(weight):
                raise SettingError(f"Expected `{name}` to be a finite number, but got {weight}.")
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise SettingError(f"Expected `bandwidth` to be a positive finite number, but got {self.bandwidth}.")

    @property
    def recorded_layers(self) -> Layers:
        """The layers whose dependence is measured."""
        return self.layers

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The weighted dependences, added over the layers."""
        outputs = forward.activations(self.layers).values()
        prepared = shrunk_kernel if self.normalised else centred_kernel
        scale = 1 if self.normalised else max(len(forward.labels) - 1, 1) ** 2
        # What depends on what is told by small differences, which half precision would lose.
        with torch.autocast(forward.inputs.device.type, enabled=False):
            images = gaussian_kernel(forward.inputs, self.bandwidth)
            classes = (forward.labels[:, None] == forward.labels[None, :]).to(images.dtype)
            # As `normalised_hsic` and `hsic` say, but for each kernel once, since to shrink one takes longest.
            images, classes = prepared(images), prepared(classes)
            values = []
            for output in outputs:
                layer = prepared(gaussian_kernel(output, self.bandwidth))
                values.append(self.inputs * (images * layer).sum() - self.labels * (classes * layer).sum())
            return torch.stack(values).sum() / scale
