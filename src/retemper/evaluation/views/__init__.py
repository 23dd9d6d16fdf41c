"""Views of a model: the same answers, with gradients that an attack can follow."""

from retemper.evaluation.views.before_softmax import BeforeSoftmax
from retemper.evaluation.views.double import Double
from retemper.evaluation.views.estimated import Estimated
from retemper.evaluation.views.rescaled import Rescaled
from retemper.evaluation.views.straight_through import StraightThrough

__all__ = ["BeforeSoftmax", "Double", "Estimated", "Rescaled", "StraightThrough"]
