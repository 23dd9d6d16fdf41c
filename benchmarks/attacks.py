"""Our `standard` evaluation against the official AutoAttack, on the same images in the same run: strength and work.

Each cell is a network of the zoo at a radius where it keeps some accuracy, on 500 test images; then one task of two
classes and one of tabular data, where AutoAttack runs APGD-CE, FAB and Square. Cells that are done are kept under
`runs/attacks`, so that a stopped benchmark goes on.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.figures import circumstances
from benchmarks.zoo import Member, network, tabular
from retemper.data import Data, Split, load
from retemper.evaluation import evaluate
from retemper.evaluation.passes import counting
from retemper.evaluation.reference import autoattack
from retemper.files import read_json, write_json
from retemper.threats import Threat, parse

FOLDER = Path("runs/attacks")
IMAGES = 500
CELLS = (
    ("mnist/plain", "linf:0.1"),
    ("mnist/entropic", "l2:1.5"),
    ("mnist/input-gradient", "linf:0.15"),
    ("mnist/pgd", "l2:2"),
    ("cifar10/plain", "l2:0.25"),
    ("cifar10/entropic", "linf:1/255"),
    ("cifar10/input-gradient", "l2:0.5"),
    ("cifar10/pgd", "linf:4/255"),
    ("mnist-3-8/plain", "linf:0.1"),
    ("breast-cancer/plain", "linf:0.05"),
)


@dataclass(frozen=True)
class Cell:
    """One network at one threat, attacked by both.

    Attributes:
        name: data and training.
        threat: norm and radius.
        images: how many.
        ours: how many our evaluation left standing.
        theirs: how many AutoAttack left standing.
        only_ours_broke: images that only our evaluation broke.
        only_theirs_broke: images that only AutoAttack broke.
        our_passes: forward and backward, in images; without the alarms, which AutoAttack does not have.
        their_passes: forward and backward, in images.
        our_seconds: by the wall clock.
        their_seconds: by the wall clock.
        version: of AutoAttack.
        measured: machine, versions and commit.
    """

    name: str
    threat: str
    images: int
    ours: int
    theirs: int
    only_ours_broke: int
    only_theirs_broke: int
    our_passes: int
    their_passes: int
    our_seconds: float
    their_seconds: float
    version: str
    measured: dict[str, Any]

    @property
    def accuracy_gap(self) -> int:
        """How many images more our evaluation left standing."""
        return self.ours - self.theirs

    @property
    def pass_ratio(self) -> float:
        """Our passes over AutoAttack's."""
        return self.our_passes / self.their_passes

    @property
    def time_ratio(self) -> float:
        """Our seconds over AutoAttack's."""
        return self.our_seconds / self.their_seconds


def run(part: int = 0, parts: int = 1) -> list[Cell]:
    """Every cell, or those of one part of several, read back or measured."""
    return [_cell(name, threat) for name, text in CELLS[part::parts] for threat in parse(text)]


def _cell(name: str, threat: Threat) -> Cell:
    written = FOLDER / f"{name}-{threat}.json".replace("/", "_").replace(":", "-")
    if written.is_file():
        return Cell(**read_json(written))
    model, split = _task(name)
    # A first pass of each would warm caches of both; against minutes that is nothing.
    started = time.perf_counter()
    with counting(model) as passes:
        found = evaluate(model, split, [threat], alarms=False, progress=False)
    seconds = time.perf_counter() - started
    reference = autoattack(model, split, threat)
    standing = found.robustness[0].standing
    cell = Cell(
        name=name,
        threat=str(threat),
        images=len(split),
        ours=int(standing.sum()),
        theirs=int(reference.standing.sum()),
        only_ours_broke=int(np.sum(~standing & reference.standing)),
        only_theirs_broke=int(np.sum(standing & ~reference.standing)),
        our_passes=passes.forwards + passes.backwards,
        their_passes=reference.forwards + reference.backwards,
        our_seconds=seconds,
        their_seconds=reference.seconds,
        version=reference.version,
        measured=circumstances(),
    )
    write_json(written, asdict(cell))
    return cell


def _task(name: str) -> tuple[nn.Module, Split]:
    source, _, way = name.partition("/")
    if source == "breast-cancer":
        return tabular()
    data: Data = load("mnist", classes=("3", "8")) if source == "mnist-3-8" else load(source)
    return network(Member(source, way), data), data.test.take(IMAGES)


def table(found: list[Cell]) -> str:
    """The table, and what is pooled over cells."""
    lines = [f"{'network':24}{'threat':12}{'images':>7}{'AA':>6}{'ours':>6}{'gap':>5}{'passes':>9}{'time':>7}"]
    lines += [
        f"{cell.name:24}{cell.threat:12}{cell.images:7}{cell.theirs:6}{cell.ours:6}{cell.accuracy_gap:5}"
        f"{cell.pass_ratio:9.3f}{cell.time_ratio:7.3f}"
        for cell in found
    ]
    pooled = sum(cell.accuracy_gap for cell in found)
    geometric = float(np.exp(np.mean([np.log(cell.time_ratio) for cell in found])))
    lines.append(
        f"accuracy_gap pooled {pooled}, largest {max(cell.accuracy_gap for cell in found)}; pass_ratio largest "
        f"{max(cell.pass_ratio for cell in found):.3f}; time_ratio geometric mean {geometric:.3f}"
    )
    lines.append(f"commits {', '.join(sorted({cell.measured['commit'] for cell in found}))}")
    return "\n".join(lines)
