"""Sounding the alarms on what a search left standing, and answering those that ring."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from retemper.evaluation.alarms import Alarm, answered, sound
from retemper.evaluation.alarms.sound import IMAGES
from retemper.evaluation.alarms.subject import spread
from retemper.evaluation.chunks import own
from retemper.evaluation.images import Chunk, Images, Loaded
from retemper.evaluation.judged import Judge
from retemper.evaluation.pieces import Piece, Pieces
from retemper.evaluation.processes import Processes
from retemper.evaluation.search import SMALLER, Broken
from retemper.noise import Noise
from retemper.threats import Threat

ANSWERED = "answers to alarms"


def answer(
    judge: Judge,
    images: Images,
    chunks: Sequence[Chunk],
    threats: Sequence[Threat],
    broken: Broken,
    *,
    seed: int,
    was_training: bool,
    pieces: Pieces,
    processes: Processes,
) -> list[tuple[Alarm, ...]]:
    """The alarms at each threat of one norm; `broken` takes in what falls to the answers, on all chunks.

    Alarms are sounded on some images from all over the split, whatever the chunks, and answered on every chunk: an
    alarm counts as answered where every chunk on which something stood says so.

    Args:
        judge: the model, and what counts as its answer.
        images: all of them.
        chunks: that they are divided into.
        threats: of one norm, from small radii to large ones.
        broken: what the search found at them, on the CPU.
        seed: of the noise.
        was_training: whether the model came in training mode.
        pieces: keep what was answered.
        processes: share the chunks.
    """
    found = []
    for number, threat in enumerate(threats):
        low, high = threat.bounds
        name = f"{threat}-{low}-{high}".replace("/", "_").replace(":", "-")
        alarms = _sounded(judge, images, threat, broken, seed, was_training, pieces, processes, name)
        if any(alarm.rings for alarm in alarms):
            alarms = _answered(judge, images, chunks, threats, number, broken, seed, alarms, pieces, processes, name)
        found.append(alarms)
    return found


def _sounded(
    judge: Judge,
    images: Images,
    threat: Threat,
    broken: Broken,
    seed: int,
    was_training: bool,
    pieces: Pieces,
    processes: Processes,
    name: str,
) -> tuple[Alarm, ...]:
    """The alarms, the same in every process; none where no image is answered rightly."""

    def compute() -> Piece:
        right, standing = (spread(broken.distances > least, IMAGES) for least in (0.0, threat.radius))
        if not len(right):
            return Piece({}, [])
        sample = images.at(torch.cat([right, standing]).unique())
        alarms = sound(
            judge.model,
            sample.inputs,
            sample.labels,
            torch.isin(sample.places, standing.to(sample.places)),
            threat,
            Noise.keyed(sample.places, seed, "alarms"),
            was_training=was_training,
            broken=~_beyond(broken.by_gradients, threat, sample),
            probed=torch.isin(sample.places, right.to(sample.places)),
            share=float((broken.distances > threat.radius).double().mean()),
        )
        return Piece({}, [asdict(alarm) for alarm in alarms])

    mine = {0: pieces.piece(f"alarms-{name}", compute)} if processes.is_main else {}
    return _read(processes.gather(mine)[0])


def _answered(
    judge: Judge,
    images: Images,
    chunks: Sequence[Chunk],
    threats: Sequence[Threat],
    number: int,
    broken: Broken,
    seed: int,
    alarms: Sequence[Alarm],
    pieces: Pieces,
    processes: Processes,
    name: str,
) -> tuple[Alarm, ...]:
    threat = threats[number]

    def compute(chunk: Chunk) -> Piece:
        here = images.of(chunk)
        noise = Noise.keyed(here.places, seed, "answers")
        standing = _beyond(broken.distances, threat, here)
        candidates, fallen, after = answered(
            judge.model,
            here.inputs,
            here.labels,
            standing,
            threat,
            noise,
            alarms,
            broken=~_beyond(broken.by_gradients, threat, here),
        )
        predicted, _ = judge(candidates)
        fallen = fallen & (predicted != here.labels) & threat.allows(candidates, here.inputs)
        tensors = {
            "places": here.places[fallen],
            "points": candidates[fallen],
            "distances": threat.distance(candidates[fallen], here.inputs[fallen]).clamp_max(threat.radius),
            "predicted": predicted[fallen],
        }
        return Piece(tensors, [asdict(alarm) for alarm in after] if standing.any() else None)

    mine = {}
    for chunk in own(chunks, processes):
        piece = pieces.piece(f"answers-{name}-{chunk.number:05d}", partial(compute, chunk))
        mine[chunk.number] = Piece({key: tensor.cpu() for key, tensor in piece.tensors.items()}, piece.facts)
    found = processes.gather(mine)
    for chunk in chunks:
        tensors = found[chunk.number].tensors
        _take_in(tensors, threats, number, broken)
    return _agreed([_read(found[chunk.number]) for chunk in chunks if found[chunk.number].facts is not None], alarms)


def _take_in(tensors: dict[str, Tensor], threats: Sequence[Threat], number: int, broken: Broken) -> None:
    """Note what fell to the answers at one of the threats, and count it at all where it stood until now."""
    known = broken.distances.clone()
    # Along a view, whose gradients are not the model's own.
    broken.note(*(tensors[name] for name in ("places", "points", "predicted", "distances")), gradients=False)
    for other, (threat, counts) in enumerate(zip(threats, broken.broken_by, strict=True)):
        fell = (known > threat.radius) & (broken.distances <= threat.radius)
        if fell.any():
            name = ANSWERED if other <= number else SMALLER
            counts[name] = counts.get(name, 0) + int(fell.sum())


def _agreed(answers: Sequence[tuple[Alarm, ...]], alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """Each alarm as the first chunk that could not answer it left it, or as the first chunk did."""
    if not answers:
        return tuple(alarms)
    worst = []
    for same in zip(*answers, strict=True):
        unanswered = [alarm for alarm in same if alarm.rings and not alarm.answered_by]
        worst.append(unanswered[0] if unanswered else same[0])
    return tuple(worst)


def _read(piece: Piece) -> tuple[Alarm, ...]:
    return tuple(Alarm(**facts) for facts in piece.facts)


def _beyond(distances: Tensor, threat: Threat, some: Loaded) -> Tensor:
    """Which of some images have their distance beyond the radius."""
    return (distances[some.places.cpu()] > threat.radius).to(some.places.device)
