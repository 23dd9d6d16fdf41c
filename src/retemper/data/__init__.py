"""From a name, a file, a folder or a Hub id to train, validation and test images in [0, 1]."""

from retemper.data.augmentation import AUGMENTATIONS
from retemper.data.load import load
from retemper.data.splits import Data, Split

__all__ = ["AUGMENTATIONS", "Data", "Split", "load"]
