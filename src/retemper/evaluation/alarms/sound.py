"""Sounding all alarms on a model and a few images."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import check_batch, surroundings
from retemper.evaluation.alarms import ascents, budget, gradients, outputs
from retemper.evaluation.alarms.alarm import Alarm
from retemper.evaluation.alarms.subject import Subject, spread
from retemper.evaluation.alarms.trail import follow
from retemper.evaluation.randomised import seeded
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import Threat

IMAGES = 64


def sound(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    standing: Bool[Tensor, " images"],
    threat: Threat,
    noise: Noise,
    *,
    was_training: bool = False,
    guide: nn.Module | None = None,
    broken: Bool[Tensor, " images"] | None = None,
    probed: Bool[Tensor, " images"] | None = None,
    share: float | None = None,
    images: int = IMAGES,
) -> tuple[Alarm, ...]:
    """Every alarm with its effect, those that ring and those that do not; none where no image to probe is right.

    A model that cannot answer an image alone, as batch statistics may have it, raises the alarm on that only.

    Probes run on images that are answered rightly, evenly spread over the batch; the one on the end of the
    budget on images still standing. For each image they take about 105 forward and backward passes, 10 of them
    in float64, and 190 more forward passes, 150 of these the queries of a black-box attack.

    Args:
        model: its mode and the global generators stay as they are.
        inputs: a batch within the threat's bounds.
        labels: one an image.
        standing: which images the evaluation's attacks left standing.
        threat: norm, radius and bounds of the evaluation.
        noise: keyed by image.
        was_training: whether the model came in training mode, before the evaluation put it into its own.
        guide: a view of the model whose gradients the probes follow instead.
        broken: which images attacks along gradients have broken before, if there were any.
        probed: which images the probes may run on; all of them if None.
        share: of all images, how many stand, where those here are a sample; None counts those here.
        images: at most so many are probed.

    Raises:
        SettingError: inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs.
    """
    check_batch(inputs, labels, threat)
    with surroundings(model), seeded(0, inputs.device):
        batch = Subject.of(model, guide or model, inputs, labels, threat, noise)
        right = ~batch.wrong(batch.inputs)
        places = spread(right if probed is None else right & probed, images)
        if not len(places):
            return ()
        subject = batch.at(places)
        mode = outputs.training_mode(subject, was_training)
        if not outputs.answers_alone(subject):  # attacks, which images leave one by one, cannot run
            return (mode,)
        slopes = gradients.gradient(subject)
        if slopes is None:
            batch, subject = batch.along(_Still(batch.guide)), subject.along(_Still(subject.guide))
        iterated = follow(subject, ascents.STEPS)
        white_box = iterated.fallen if broken is None else iterated.fallen | broken[places]
        return (
            gradients.zero_gradients(subject, slopes),
            gradients.misleading_gradients(subject, slopes),
            ascents.saturated_logits(subject, iterated),
            ascents.one_step(subject, iterated),
            ascents.no_rise(subject, iterated),
            ascents.unbounded(subject),
            budget.black_box(subject, white_box),
            budget.more_budget(batch, standing, float(standing.double().mean()) if share is None else share, images),
            outputs.random_answers(subject),
            outputs.probabilities(subject),
            mode,
            outputs.unused_bounds(subject),
        )


class _Still(nn.Module):
    """A model whose graph is cut, given a gradient of zero, so that every probe runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        # Detached, since a graph may be there that only fails when it is gone through.
        return logits(self.model, inputs).detach() + 0 * inputs.flatten(1).sum(1, keepdim=True)
