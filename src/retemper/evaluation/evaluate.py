"""The evaluation: every image faces the attacks in turn until one succeeds, at every radius."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from retemper.attacks import fmn
from retemper.checks import as_seed, at_least_one, is_a, plain
from retemper.data import Split
from retemper.data.hashing import content_hash
from retemper.errors import ModelError, SettingError
from retemper.evaluation.alarms import Alarm
from retemper.evaluation.answering import answer
from retemper.evaluation.attack_plan import Attack, adapted, budget, transferred
from retemper.evaluation.chunks import own, search, steps
from retemper.evaluation.curve import Curve
from retemper.evaluation.images import Images, divided
from retemper.evaluation.judged import Judge
from retemper.evaluation.outcome import Evaluation, Example, Robustness
from retemper.evaluation.pieces import Pieces
from retemper.evaluation.processes import Processes
from retemper.evaluation.randomised import DRAWS, is_random
from retemper.evaluation.search import Broken, grouped
from retemper.models import logits
from retemper.models.float32 import exact_float32
from retemper.models.hashing import architecture_hash, weights_hash
from retemper.models.inference import device_of, evaluation_mode
from retemper.models.layout import channels_last, runs_channels_last
from retemper.models.parametrised import is_parametrised, materialised
from retemper.objectives import Objective
from retemper.progress import progress_line
from retemper.threats import Threat, several

CLOSEST_STEPS = 50
ALARMS = 2  # how they are sounded: an evaluation that was kept under another number is another one


# Attacks and alarms build graphs, for which nothing may have been made under inference_mode.
@torch.inference_mode(False)
@exact_float32()
def evaluate(
    model: nn.Module,
    split: Split,
    threats: Threat | Sequence[Threat],
    *,
    attacks: Sequence[Attack] | str = "standard",
    objective: Objective | None = None,
    surrogate: nn.Module | None = None,
    curve: bool = False,
    alarms: bool = True,
    batch_size: int = 256,
    seed: int = 0,
    keep: int = 0,
    out: Path | str | None = None,
    resume: bool = True,
    progress: bool = True,
    label: str = "attacking",
) -> Evaluation:
    """Attack every image of a split at every threat and count what still stands.

    Only images that still stand go on to the next attack; an image that falls at some radius counts as
    fallen at every larger radius of the same norm, so that robust accuracy never rises with the radius.
    Images go through the attacks in chunks of a fixed size, so that what happens to each is the same in a
    run that was killed and called again, or shared among processes (`accelerate launch`).

    A model whose answers are random counts as right where the right class is the one that it gives most often
    (`Evaluation.draws` says out of how many).

    Args:
        model: in float32 or float64, on any device; its modes are as they were afterwards.
        split: take its first images with `split.take(1000)`.
        threats: norms and radii, one or several.
        attacks: a budget out of "quick", "standard" and "thorough", or attacks from `plan`.
        objective: what the model was trained on: attacks that follow its own terms are added (`adapted`).
        surrogate: another model of the same classes: what succeeds against it is tried first (`transferred`).
        curve: begin with a minimum-norm attack, so that the curves tell of every radius up to the largest.
        alarms: sound the alarms on at most 64 images of each kind (answered rightly, still standing) from all over the
            split, all at once whatever `batch_size` is, and answer those that ring; a figure at which one rings
            unanswered cannot be trusted.
        batch_size: how many images make a chunk; memory on the model's device grows with it, not with the split.
        seed: of the attacks' random numbers.
        keep: how many adversarial examples to return with each threat, the first by index.
        out: a folder that keeps what is done, so that the same call goes on after a kill.
        resume: go on from what is in `out`; False begins anew.
        progress: show one line that says where it is.
        label: what that line is called.

    Raises:
        SettingError: no threat, no attack or something else in its place, a negative `keep`, inputs outside a threat's
            bounds, bounds that are not finite beside alarms or `out`, or a seed outside [0, 2**32).
        ModelError: the model does not run on the inputs, has too few classes, returns NaN, is in half
            precision, or is on Apple's MPS; without alarms also where it cannot be differentiated.
        CheckpointError: `out` holds another evaluation, or is damaged.
        OSError: `out` cannot be written.
    """
    is_a(nn.Module, model=model)
    is_a(Split, "take one of the data, such as data.test", split=split)
    threats = several(threats)
    if not attacks:
        raise SettingError("Expected at least one attack, such as from `plan`, but got none.")
    if not isinstance(attacks, str):
        for attack in attacks:
            is_a(Attack, "`retemper.evaluation.plan` makes them from names", attacks=attack)
    for threat in threats:
        if not all(map(math.isfinite, threat.bounds)) and (alarms or out is not None):
            raise SettingError(
                f"Expected finite bounds, since an alarm asks what falls where anything within them may change and a "
                f"folder's files hold no infinite number, but {threat} has {threat.bounds}. Name the range that the "
                "inputs can have, or pass alarms=False and no `out`."
            )
    if keep < 0:
        raise SettingError(f"Expected `keep` to be 0 or more, but got {keep}.")
    at_least_one(batch_size=batch_size)
    batch_size = plain(batch_size)
    seed = as_seed(seed)
    processes = Processes()
    if processes.device is not None:
        model.to(processes.device)
    was_training = any(module.training for module in model.modules())
    device = device_of(model)
    if device.type == "mps":
        raise ModelError(
            "Expected a model on a device with float64, which distances are taken in, but got one on Apple's MPS; move "
            'it with model.to("cpu").'
        )
    images, chunks = Images(split, device, _dtype(model)), divided(len(split), batch_size)
    for inputs, _ in split.batches(batch_size):
        for threat in threats:
            threat.check_inputs(inputs.to(images.dtype))
    first = images.of(chunks[0]).inputs
    classes = _classes(model, first, split.labels)
    chosen = [
        *([transferred(surrogate.to(device_of(model)))] if surrogate is not None else []),
        *(budget(attacks, classes=classes) if isinstance(attacks, str) else attacks),
        *(adapted(objective) if objective is not None else []),
    ]
    closest = Attack("fmn", f"{CLOSEST_STEPS} steps", partial(fmn, steps=CLOSEST_STEPS)) if curve else None
    identity = {
        "weights": weights_hash(model),
        "architecture": architecture_hash(model),
        "surrogate": [weights_hash(surrogate), architecture_hash(surrogate)] if surrogate is not None else None,
        "objective": repr(objective),
        "data": content_hash([split.inputs, split.labels], []),
        "threats": [[str(threat), threat.bounds] for threat in threats],
        "attacks": [str(attack) for attack in chosen],
        "curve": curve,
        "alarms": ALARMS if alarms else False,
        "batch_size": batch_size,
        "seed": seed,
    }
    if was_training:  # of which there is an alarm
        identity["mode"] = "training"
    with processes.main_first():
        # Only the main process begins anew: the others would delete what it has written since.
        again = resume or not processes.is_main
        pieces = Pieces(Path(out) if out is not None else None, identity, resume=again)
    draws = DRAWS if is_random(model, first) else 1
    # Weights made of others need be made only once, but for those that are drawn.
    judge = Judge(materialised(model) if draws == 1 and is_parametrised(model) else model, draws)
    norms = grouped(threats)
    wide = runs_channels_last(judge.model, first[:2].clone())
    if wide:
        images = replace(images, layout=torch.channels_last)
    mine = list(own(chunks, processes))
    total = steps(mine, threats, chosen, closest)
    done = steps([chunk for chunk in mine if pieces.holds(chunk.name)], threats, chosen, closest)
    shown = progress and processes.is_main
    with channels_last(judge.model, wanted=wide), progress_line(label, total, done, shown=shown) as advance:
        found = search(
            judge,
            images,
            chunks,
            threats,
            attacks=chosen,
            closest=closest,
            seed=seed,
            forgiving=alarms,
            pieces=pieces,
            processes=processes,
            advance=advance,
        )
        rung: dict[Threat, tuple[Alarm, ...]] = {}
        for group, broken in zip(norms, found.norms, strict=True):
            if alarms:
                answers = answer(
                    judge,
                    images,
                    chunks,
                    group,
                    broken,
                    seed=seed,
                    was_training=was_training,
                    pieces=pieces,
                    processes=processes,
                )
                rung |= dict(zip(group, answers, strict=True))
    robustness = {
        threat: _robustness(threat, broken, counts, split, keep, rung.get(threat, ()))
        for group, broken in zip(norms, found.norms, strict=True)
        for threat, counts in zip(group, broken.broken_by, strict=True)
    }
    ran = [*([closest] if closest else []), *chosen]
    return Evaluation(
        clean=(found.predicted == split.labels.cpu()).numpy(),
        robustness=tuple(robustness[threat] for threat in threats),
        curves=tuple(_curve(group, broken, curve) for group, broken in zip(norms, found.norms, strict=True)),
        attacks=tuple(str(attack) for attack in ran),
        seed=seed,
        draws=judge.draws,
    )


def _robustness(
    threat: Threat, broken: Broken, counts: dict[str, int], split: Split, keep: int, alarms: tuple[Alarm, ...]
) -> Robustness:
    standing = broken.distances > threat.radius
    moved = (~standing & (broken.distances > 0)).nonzero()[:keep, 0]
    originals, labels = split.to("cpu").batch(moved) if len(moved) else (moved, moved)
    examples = [
        Example(int(place), int(label), int(broken.predicted[place]), original.to(broken.points.dtype), point)
        for place, label, original, point in zip(moved, labels, originals, broken.points[moved], strict=True)
    ]
    return Robustness(threat, standing.numpy(), counts, tuple(examples), alarms)


def _curve(group: Sequence[Threat], broken: Broken, closest: bool) -> Curve:
    largest = group[-1]
    return Curve(
        norm=largest.norm,
        bounds=largest.bounds,
        distances=broken.distances.numpy(),
        reach=largest.radius,
        closest=closest,
        points=broken.points,
    )


def _classes(model: nn.Module, inputs: Tensor, labels: Tensor) -> int:
    """How many classes the model tells apart.

    Raises:
        ModelError: it has no logit for some label.
    """
    with evaluation_mode(model), torch.no_grad():
        classes = logits(model, inputs[:1].clone()).shape[1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ModelError(
            f"{type(model).__name__} returns {classes} logits, but the labels reach from {low} to {high}; evaluate it "
            "on the classes that it was trained for."
        )
    return classes


def _dtype(model: nn.Module) -> torch.dtype:
    """float64 for a model in float64, else float32.

    Raises:
        ModelError: the model is in half precision, in which attacks cannot be trusted.
    """
    dtypes = {tensor.dtype for tensor in model.parameters() if tensor.dtype.is_floating_point}
    if dtypes & {torch.bfloat16, torch.float16}:
        raise ModelError(
            f"{type(model).__name__} has weights in half precision, in which rounding hides gradients; evaluate "
            "model.float()."
        )
    return torch.float64 if torch.float64 in dtypes else torch.float32
