"""What torch cannot differentiate in the way asked, said together with what to do about it."""

import contextlib
import re
from collections.abc import Iterator

from retemper.errors import ModelError

COMPILED = "In place of a model under torch.compile pass the one that was compiled (`model._orig_mod`)."
FINITE = "Or take a finite difference, where the term has one: InputGradient(step=...), LinearisedLoss."
CURES = {
    r"use_reentrant=True": "Call torch.utils.checkpoint.checkpoint with use_reentrant=False.",
    r"donated buffers": COMPILED,
    r"torch\.compile with aot_autograd": COMPILED,
    r"derivative for .*scaled_dot_product": "Fused attention can be differentiated once alone: put `with "
    "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):` around the training. " + FINITE,
    r"derivative for .* is not implemented": "Leave such a layer out of the model. " + FINITE,
}
"""What to do, by what is found in the first line of torch's error."""


@contextlib.contextmanager
def differentiating(kind: type[ModelError] = ModelError) -> Iterator[None]:
    """Run the block, which goes backward through a model; what torch cannot differentiate is an error of that kind.

    Torch has one type for all that goes wrong there, memory and other machines included. So an error is known by its
    words, and any other is raised as it is.

    Raises:
        ModelError: the model cannot be differentiated in the way asked, with what to do.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error).partition("\n")[0]
        cure = next((cure for words, cure in CURES.items() if re.search(words, said)), None)
        if cure is None:
            raise
        raise kind(f"The model cannot be differentiated as this needs. {cure} What torch said: {said}") from error
