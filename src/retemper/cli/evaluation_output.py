"""What `retemper evaluate` prints and writes."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from retemper.cli.alarm_tables import alarms_table
from retemper.cli.evaluating import Asked, Found
from retemper.cli.tables import evaluation_table
from retemper.cli.verdicts import plan_table, reference_table, verdict_line
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.evaluation import Claim
from retemper.evaluation.planner import plan_images
from retemper.files import write_json, write_text
from retemper.report.evaluation_page import evaluation_page

POWER = 0.9  # the probability of a verdict that `--plan` asks for


def print_plan(console: Console, claim: Claim | None) -> None:
    """Say how many images a claim needs.

    Raises:
        SettingError: there is no claim.
    """
    if claim is None:
        raise SettingError(
            "Expected `--claim`, such as 0.41@linf:8/255, beside `--plan`: how many images is its answer."
        )
    console.print(plan_table(claim, plan_images(claim, power=POWER), POWER))


def show(console: Console, found: Found) -> None:
    """Print the verdict first, then the figures, the alarms, the reference, and how to recheck a refutation."""
    if found.verdict is not None:
        console.print(verdict_line(found.verdict))
    console.print(evaluation_table(found.evaluation, found.data, found.asked.split))
    if found.asked.alarms:
        console.print(alarms_table(found.evaluation.robustness))
    if found.reference is not None:
        ours = found.evaluation.robustness[0]
        forwards, backwards = found.passes
        console.print(
            reference_table(
                found.reference,
                ours.standing,
                ours.broken_by,
                forwards=forwards,
                backwards=backwards,
                seconds=found.seconds,
            )
        )
    if found.bundle is not None:
        recheck = f"Kept for anyone to recheck: {_recheck(found.bundle, found.asked)}"
        console.print(recheck, markup=False, highlight=False, soft_wrap=True)
    elif found.verdict is not None and found.verdict.word == "refuted":
        if found.asked.out is None:
            console.print("With --out, every adversarial input is kept for anyone to recheck with `retemper verify`.")
        else:
            console.print("AutoAttack alone broke enough images to refute it; its inputs are not kept for a recheck.")


def _recheck(bundle: Path, asked: Asked) -> str:
    """The command, as a shell takes it: not wrapped, whatever the width."""
    command = ["retemper", "verify", str(bundle), "--model", str(asked.weights), "--data", asked.data]
    for option, value in {"--factory": asked.factory, "--classes": ",".join(asked.classes)}.items():
        command += [option, value] if value else []
    return shlex.join(command)


def write(found: Found, *, json: Path | None, report: Path | None, command: str) -> None:
    """Write the figures, and the page."""
    if json is not None:
        write_json(json, as_json(found))
    if report is not None:
        asked, data = found.asked, found.data
        about = {
            "title": f"{asked.weights} on {data.name}",
            "model": asked.weights,
            "data": data.name,
            "note": data.note,
            "split": asked.split,
            "classes": data.classes,
            "command": command,
            "environment": describe(),
        }
        write_text(
            report, evaluation_page(found.evaluation, about=about, verdict=found.verdict, reference=found.reference)
        )


def as_json(found: Found) -> dict[str, Any]:
    """Everything that was asked and found."""
    asked, data = found.asked, found.data
    return {
        "verdict": found.verdict.as_json() if found.verdict is not None else None,
        "weights": asked.weights,
        "data": {"name": data.name, "note": data.note, "split": asked.split, "fingerprint": data.fingerprint()},
        "environment": describe(),
        **found.evaluation.as_json(),
        "reference": found.reference.as_json() if found.reference is not None else None,
    }
