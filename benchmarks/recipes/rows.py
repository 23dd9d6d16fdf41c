"""The rows: the recipe, what is added to it or changed in it, and baselines, each with the ways it is chosen from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from benchmarks.recipes.protocols import IMAGES, Protocol
from retemper.objectives import (
    TRADES,
    ActivationEntropy,
    CrossEntropy,
    Curvature,
    Differential,
    FGSMTraining,
    GuidedComplementEntropy,
    HSICBottleneck,
    InputGradient,
    IntervalBounds,
    Jacobian,
    LabelSmoothing,
    LinearisedLoss,
    LogitSqueezing,
    Objective,
    PGDTraining,
    Term,
    WarmUp,
    WeightedSum,
    entropic_retraining,
    recipe,
    recipe_or_jacobian,
)
from retemper.objectives.presets import ENTROPIC_EVERY
from retemper.objectives.recipe import STEP, WARM_UP
from retemper.studies.contest import Contest
from retemper.studies.ways import Way
from retemper.threats import Linf

RECIPE, PLAIN = "recipe", "plain"
# Against all threats of a protocol; everything else is trained against the first.
EVERY = "recipe, every threat"
# At each step the one or the other.
OR_JACOBIAN = "recipe or jacobian"
# What joins the recipe in the factorial design: its rows are trained from as many seeds as it.
ADDED = ("recipe + entropic", "recipe, differential", "recipe, differential + entropic")
# The recipe with one of its choices made otherwise, and what it would be without them: a penalty on the slope.
SLOPE = "input gradient, measured"
ABLATED = {
    "recipe, radius at once": {"warmup": 0.0},
    "recipe, radius grows to the end": {"warmup": 1.0},
    "recipe, step of a sixteenth": {"step": 1 / 16},
    "recipe, step of a half": {"step": 1 / 2},
    "recipe, step of the radius": {"step": 1.0},
}
# What becomes of a ReLU network: from fresh weights, from plainly trained ones, and with its activations swapped.
RETRAINED = ("recipe, relu", "recipe, relu, from plain", "recipe, relu to silu, from plain")
ADVERSARIAL = ("fgsm", "pgd", "trades")
# The official AutoAttack is run on these: what is called robust, and what that is held against.
OFFICIAL = (RECIPE, EVERY, OR_JACOBIAN, "input gradient", *ADVERSARIAL)

ENTROPY = ActivationEntropy(every=ENTROPIC_EVERY)
SMOOTH, KINKED = "silu", "relu"
CURVATURE_STEP = 1.5  # in L2, of inputs in [0, 1]
# What comes near to an attack, for the notes; what is said of the recipe holds for its rows with something added.
NOTES = {
    RECIPE: f"moves inputs by {STEP:g} of the radius to measure a derivative",
    EVERY: f"moves inputs by {STEP:g} of a radius to measure a derivative; trains for all threats, other rows for one",
    OR_JACOBIAN: f"moves inputs by {STEP:g} of the radius to measure a derivative",
    SLOPE: f"moves inputs by {STEP:g} of the radius to measure a derivative",
    "recipe, step of a half": "moves inputs by half the radius to measure a derivative",
    "recipe, step of the radius": "moves inputs by the radius: adversarial training in one step from the image itself",
    "curvature": f"moves inputs by {CURVATURE_STEP:g} in L2 to measure a derivative",
    "fgsm": "trains on adversarial examples",
    "pgd": "trains on adversarial examples",
    "trades": "trains on adversarial examples",
}


def contest(protocol: Protocol) -> Contest:
    """All rows of a protocol, the recipe first, so that the others' gains are over it."""
    rivals = {row: ways for row, ways in _rivals(protocol).items() if row in protocol.rows or not protocol.rows}
    repeated = (RECIPE, EVERY, OR_JACOBIAN, *ADDED, *((*ABLATED, SLOPE) if protocol.ablation else ()))
    once = tuple(row for row in rivals if row not in repeated)
    return Contest(
        protocol.data,
        (),
        rivals,
        protocol.threats,
        protocol.epochs,
        protocol.seeds,
        IMAGES,
        floor=protocol.floor,
        once=once,
    )


def _rivals(protocol: Protocol) -> dict[str, list[Way]]:
    threat, plain = protocol.threats[0], CrossEntropy()

    def ways(
        row: str,
        objectives: Sequence[Objective],
        *activations: str,
        model: str = protocol.model,
        settings: Mapping[str, Any] = MappingProxyType({}),
        **rest: Any,
    ) -> list[Way]:
        settings = {"augmentation": protocol.augmentation, **settings}
        return [
            Way(f"{row}-{place}-{activation}", objective, model, activation, settings, **rest)
            for activation in activations
            for place, objective in enumerate(objectives)
        ]

    def weighted(term: Term, *weights: float) -> list[WeightedSum]:
        return [plain + weight * term for weight in weights]

    in_pairs = replace(recipe(threat), loss="differential")
    sgd = {"optimiser": "sgd", "learning_rate": 0.01}
    exact = InputGradient("loss", threat.dual, squared=False)
    # By the same steps as the recipe's: what it adds to the penalty that it comes from.
    measured = WarmUp(InputGradient("loss", threat.dual, squared=False, step=STEP * threat.radius), over=WARM_UP)
    rows = {
        RECIPE: ways("recipe", [recipe(threat)], SMOOTH),
        ADDED[0]: ways("recipe-entropic", [recipe(threat) + weight * ENTROPY for weight in (0.3, 1.25)], SMOOTH),
        ADDED[1]: ways("recipe-differential", [in_pairs], SMOOTH),
        ADDED[2]: ways("recipe-differential-entropic", [in_pairs + w * ENTROPY for w in (0.3, 1.25)], SMOOTH),
        RETRAINED[0]: ways("recipe-relu", [recipe(threat)], KINKED),
        RETRAINED[1]: ways("recipe-from-plain", [recipe(threat)], KINKED, base_epochs=protocol.epochs),
        RETRAINED[2]: ways("recipe-swapped", [recipe(threat)], KINKED, base_epochs=protocol.epochs, smooth=True),
        PLAIN: [
            *ways("plain", [plain], KINKED, SMOOTH),
            *ways("plain-sgd", [plain], KINKED, settings=sgd),
        ],
        "entropic": ways(
            "entropic",
            [entropic_retraining(weight) for weight in (0.6, 1.25, 2.5)],
            KINKED,
            base_epochs=protocol.epochs,
            epochs=2,
        ),
        "differential": [
            *ways("differential", [Differential()], KINKED),
            *ways("differential-sgd", [Differential()], KINKED, settings=sgd | {"learning_rate": 0.1}),
        ],
        "differential + input gradient": ways(
            "differential-gradient", [Differential() + w * InputGradient() for w in (0.01, 0.03, 0.1)], SMOOTH
        ),
        "input gradient": [
            *ways("gradient", weighted(exact, threat.radius, 2 * threat.radius), SMOOTH),
            *ways("gradient", weighted(exact, threat.radius), KINKED),
        ],
        SLOPE: ways("gradient-measured", weighted(measured, threat.radius, 2 * threat.radius), SMOOTH),
        "jacobian": ways("jacobian", weighted(Jacobian(), 0.003, 0.01, 0.03, 0.1, 0.3), SMOOTH),
        "curvature": ways("curvature", weighted(Curvature(CURVATURE_STEP), 1.0, 4.0, 16.0), SMOOTH),
        "guided complement entropy": ways("complement", [GuidedComplementEntropy()], KINKED),
        "hsic bottleneck": ways(
            "hsic", [plain + HSICBottleneck(), plain + HSICBottleneck(inputs=0.06, labels=0.5)], KINKED
        ),
        "label smoothing + logit squeezing": ways(
            "squeezing",
            [LabelSmoothing(share) + w * LogitSqueezing() for share, w in ((0.1, 0.05), (0.3, 0.1), (0.3, 0.5))],
            KINKED,
        ),
        "lipschitz": ways(
            "lipschitz",
            [plain, Differential()],
            KINKED,
            model="lipschitz-cnn",
            settings={"learning_rate": 0.003, "precision": "fp32"},
        ),
        "fgsm": ways("fgsm", [FGSMTraining(threat)], KINKED, SMOOTH),
        "pgd": ways("pgd", [PGDTraining(threat)], KINKED, SMOOTH),
        "trades": ways("trades", [TRADES(threat)], SMOOTH),
    }
    if len(protocol.threats) > 1:
        rows[EVERY] = ways("recipe-every", [recipe(protocol.threats)], SMOOTH)
    if isinstance(threat, Linf):  # the boxes are those of Linf
        rows["interval bounds"] = ways("bounds", [IntervalBounds(r * threat.radius) for r in (0.5, 1.0)], KINKED)
    if protocol.ablation:
        for place, (row, otherwise) in enumerate(ABLATED.items()):
            rows[row] = ways(f"recipe-ablated-{place}", [_otherwise(recipe(threat), **otherwise)], SMOOTH)
    either = [recipe_or_jacobian(threat, weight) for weight in (0.1, 0.3)]
    rows[OR_JACOBIAN] = ways("recipe-or-jacobian", either, SMOOTH)
    return rows


def _otherwise(term: LinearisedLoss, *, step: float = STEP, warmup: float = WARM_UP) -> LinearisedLoss:
    """With another step, a share of the radius, or another warm-up."""
    return replace(term, step=step * term.radius, warmup=warmup)
