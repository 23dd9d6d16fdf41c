"""The search through all chunks: shared among processes, kept as pieces, joined at the end."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from retemper.evaluation.attack_plan import Attack
from retemper.evaluation.images import Chunk, Images
from retemper.evaluation.judged import Judge
from retemper.evaluation.pieces import Piece, Pieces
from retemper.evaluation.processes import Processes
from retemper.evaluation.search import Broken, Search, grouped
from retemper.threats import Threat

KEPT = ("distances", "points", "predicted", "by_gradients")  # of `Broken`, by norm


@dataclass(frozen=True)
class Found:
    """What the search found on some images: their answers, and for each norm what breaks them."""

    predicted: Int[Tensor, " images"]
    norms: list[Broken]

    def as_piece(self) -> Piece:
        """The same as tensors and facts."""
        tensors = {"predicted": self.predicted}
        for number, broken in enumerate(self.norms):
            tensors |= {f"{name}-{number}": getattr(broken, name) for name in KEPT}
        return Piece(tensors, [broken.broken_by for broken in self.norms])

    @classmethod
    def of(cls, piece: Piece) -> "Found":
        """Read back what `as_piece` gave."""
        tensors = {name: tensor.cpu() for name, tensor in piece.tensors.items()}
        for n in range(len(piece.facts)):
            # Before this was recorded, evaluations without alarms were kept, which do not ask for it.
            tensors.setdefault(f"by_gradients-{n}", torch.full_like(tensors[f"distances-{n}"], torch.inf))
        norms = [
            Broken(broken_by=broken_by, **{name: tensors[f"{name}-{n}"] for name in KEPT})
            for n, broken_by in enumerate(piece.facts)
        ]
        return cls(tensors["predicted"], norms)


def search(
    judge: Judge,
    images: Images,
    chunks: Sequence[Chunk],
    threats: Sequence[Threat],
    *,
    attacks: Sequence[Attack],
    closest: Attack | None,
    seed: int,
    forgiving: bool,
    pieces: Pieces,
    processes: Processes,
    advance: Callable[[int], None],
) -> Found:
    """Attack all chunks, those of this process here, and join what all processes found.

    The images of a chunk go through the model together whatever process they fall to, so that the result of
    each is the same.
    """

    def compute(chunk: Chunk) -> Piece:
        here = images.of(chunk)
        search = Search(
            judge,
            here.inputs,
            here.labels,
            here.places,
            attacks=attacks,
            closest=closest,
            seed=seed,
            forgiving=forgiving,
            advance=advance,
        )
        return Found(search.predicted, [search.norm(group) for group in grouped(threats)]).as_piece()

    found = {}
    for chunk in own(chunks, processes):
        found[chunk.number] = Found.of(pieces.piece(chunk.name, partial(compute, chunk)))
    gathered = processes.gather(found)
    return _joined([gathered[chunk.number] for chunk in chunks])


def own(chunks: Sequence[Chunk], processes: Processes) -> Iterator[Chunk]:
    """The chunks that fall to this process."""
    return (chunk for chunk in chunks if processes.own(chunk.number))


def steps(chunks: Sequence[Chunk], threats: Sequence[Threat], attacks: Sequence[Attack], closest: Attack | None) -> int:
    """By how much a search of these chunks advances."""
    runs = sum(len(group) * len(attacks) + (closest is not None) for group in grouped(threats))
    return runs * sum(map(len, chunks))


def _joined(parts: Sequence[Found]) -> Found:
    norms = []
    for pieces in zip(*[part.norms for part in parts], strict=True):
        counts = []
        for of_chunks in zip(*[piece.broken_by for piece in pieces], strict=True):
            total: Counter[str] = Counter()
            for of_chunk in of_chunks:
                total.update(of_chunk)
            counts.append(dict(total))
        norms.append(
            Broken(
                torch.cat([piece.distances for piece in pieces]),
                torch.cat([piece.points for piece in pieces]),
                torch.cat([piece.predicted for piece in pieces]),
                counts,
                torch.cat([piece.by_gradients for piece in pieces]),
            )
        )
    return Found(torch.cat([part.predicted for part in parts]), norms)
