"""The peak memory of a training step."""

import multiprocessing
import re
from pathlib import Path

from retemper.objectives import Objective

STATUS = Path("/proc/self/status")


def peak_bytes(objective: Objective, precision: str) -> int:
    """The highest resident memory of a fresh process that takes three steps, above what it had before the network.

    Raises:
        NotImplementedError: the system has no /proc, which alone tells a process's own peak.
    """
    if not STATUS.is_file():
        raise NotImplementedError("Peak memory is read from /proc, which only Linux has.")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (objective, precision))


def _measure(objective: Objective, precision: str) -> int:
    from benchmarks.step import step

    before = kilobytes("VmRSS")
    take = step(objective, precision)
    for _ in range(3):
        take()
    return 1024 * (kilobytes("VmHWM") - before)


def kilobytes(field: str) -> int:
    """What Linux says of this process under the name, as VmRSS or VmHWM."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert match is not None, "Linux always says this of a process"
    return int(match[1])
