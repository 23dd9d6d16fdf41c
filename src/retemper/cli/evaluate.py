"""`retemper evaluate`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def evaluate(
    weights: Annotated[
        str | None,
        typer.Argument(
            help="The network: its weights in safetensors, such as `model.safetensors` of `retemper train`, or "
            "`package.module:factory` that builds it, weights and all."
        ),
    ] = None,
    model: options.Factory = None,
    data: options.Data = "digits",
    classes: options.Classes = "",
    threat: options.ThreatsOrNone = None,
    split: options.Split = "test",
    images: options.Images = 1000,
    claim: Annotated[
        str,
        typer.Option(
            help="A claim to judge, such as `0.41@linf:8/255`. Exit status 0: not refuted or proved, 1: refuted, "
            "3: not to be trusted, 4: undecided. A launcher of several processes makes 1 of them all but 0: read the "
            "verdict in --json."
        ),
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say how many images a verdict on the claim needs; nothing is attacked.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="quick (a look), standard, or thorough (when a figure matters). Default: standard."),
    ] = None,
    attacks: Annotated[
        str,
        typer.Option(
            help="Instead of a budget: attacks by name, separated by commas: fgsm, pgd-ce, pgd-margin, pgd-dlr, "
            "apgd-ce, apgd-margin, apgd-dlr, apgd-targeted, fab, fab-targeted, square, fmn, deepfool."
        ),
    ] = "",
    steps: Annotated[
        int | None,
        typer.Option(help="With --attacks: gradient steps of each, but fgsm (one) and square (queries). Default: 100."),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            help="With --attacks: random starts of pgd, apgd (but targeted) and fab; others have none. Default: 1."
        ),
    ] = None,
    surrogate: Annotated[
        str | None, typer.Option(help="Another network, named as the first, whose adversarial inputs are tried first.")
    ] = None,
    adaptive: Annotated[
        bool, typer.Option(help="Follow the terms that the network was trained with too, where its file tells them.")
    ] = True,
    curve: Annotated[
        bool, typer.Option("--curve", help="Begin with a minimum-norm attack: robust accuracy at every radius.")
    ] = False,
    alarms: Annotated[
        bool, typer.Option(help="Look for signs that attacks fail without the network being robust, and answer them.")
    ] = True,
    reference: Annotated[
        str, typer.Option(help="`autoattack`: run the official AutoAttack beside ours (extra retemper[autoattack]).")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the attacks' random numbers.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what is done, but for --reference: the same command goes on after a kill. A "
            "refutation goes in."
        ),
    ] = None,
    resume: options.Resume = True,
    report: Annotated[Path | None, typer.Option(help="Write a page that opens in any browser here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures and what happened to every image here.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in a chunk; memory grows with it.")] = 256,
    progress: options.Progress = True,
) -> None:
    """Attack a trained network: what share of the images still stands, and whether that can be trusted.

    An image counts as robust only if every attack failed on it: the figure is an upper bound, not a proof. With
    `accelerate launch` several processes share the images.
    """
    from retemper.cli import evaluating, evaluation_output
    from retemper.cli.terminal import Terminal
    from retemper.evaluation import parse_claim
    from retemper.evaluation.processes import Processes
    from retemper.files import check_writable

    console = Terminal()
    claimed = parse_claim(claim) if claim else None
    if plan:
        evaluation_output.print_plan(console, claimed)
        return
    asked = evaluating.Asked(
        weights=weights,
        factory=model,
        data=data,
        classes=options.names(classes),
        threats=evaluating.threats(threat, claimed),
        split=split,
        images=images,
        budget=budget,
        attacks=options.names(attacks),
        steps=steps,
        restarts=restarts,
        surrogate=surrogate,
        adaptive=adaptive,
        curve=curve,
        alarms=alarms,
        reference=reference,
        seed=seed,
        out=out,
        resume=resume,
        batch_size=batch_size,
        progress=progress,
    )
    for path in (report, json):
        if path is not None:
            check_writable(path)
    found = evaluating.run(asked, claimed)
    if not Processes().is_main:
        return
    evaluation_output.write(found, json=json, report=report, command=shlex.join(["retemper", *sys.argv[1:]]))
    evaluation_output.show(console, found)
    if found.verdict is not None:
        raise typer.Exit(found.verdict.exit_status)
