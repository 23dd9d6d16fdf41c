"""The errors that retemper raises: each names what was passed, what was expected and what to do."""


class RetemperError(ValueError):
    """Anything wrong with what was passed in; the command line prints it without a traceback."""


class SettingError(RetemperError):
    """An argument or option has a value that it cannot have."""


class DataError(RetemperError):
    """A data set is missing, unreadable, or not images and labels as retemper needs them."""


class ModelError(RetemperError):
    """A model cannot be built, loaded, or run on these inputs."""


class GradientError(ModelError):
    """A model's logits cannot be differentiated by its inputs."""


class NotFiniteError(ModelError):
    """A model's logits are NaN or infinite."""


class LayerError(ModelError):
    """No such layer in the model, or its output cannot be recorded."""


class CheckpointError(RetemperError):
    """A file written by an earlier run is damaged or belongs to another run."""


class DivergenceError(RetemperError):
    """The loss stopped being a finite number."""


class BudgetError(RetemperError):
    """No training kept as much clean accuracy as was asked for."""
