"""`retemper certify`."""

from pathlib import Path
from typing import Annotated

import typer

from retemper.cli import options


def certify(
    weights: Annotated[
        str,
        typer.Argument(
            help="The network: its weights in safetensors, such as `model.safetensors` of `retemper train`, or "
            "`package.module:factory` that builds it, weights and all."
        ),
    ],
    model: options.Factory = None,
    data: options.Data = "digits",
    classes: options.Classes = "",
    threat: Annotated[
        list[str],
        typer.Option("--threat", help="The radii, in L2: `l2:0.25,0.5,1`. May be repeated. Inputs live in [0, 1]."),
    ] = ["l2:0.25,0.5,1"],  # noqa: B006 - typer copies it
    split: options.Split = "test",
    images: options.Images = 1000,
    claim: Annotated[
        str,
        typer.Option(
            help="A claim to judge, such as `0.6@l2:0.5`. Exit status 0: proved or not refuted, 1: refuted, 3: not to "
            "be trusted, 4: undecided."
        ),
    ] = "",
    budget: Annotated[str, typer.Option(help="Of the attacks: quick, standard or thorough.")] = "quick",
    seed: Annotated[int, typer.Option(help="Seed of the attacks' random numbers.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for certified.json and certified.svg; the same command goes on after a kill."),
    ] = None,
    resume: options.Resume = True,
    batch_size: Annotated[int, typer.Option(help="Images in a chunk; memory grows with it.")] = 256,
    progress: options.Progress = True,
) -> None:
    """Certify a network: the share of images whose answer no input within a radius changes, beside what attacks leave.

    The true robust accuracy lies between the two. Any network of known layers in a row can be certified;
    `--model lipschitz-cnn` of `retemper train` is made for it.
    """
    from retemper.cli import certifying
    from retemper.cli.terminal import Terminal
    from retemper.cli.verdicts import verdict_line
    from retemper.evaluation import parse_claim
    from retemper.files import check_writable

    claimed = parse_claim(claim) if claim else None
    asked = certifying.Asked(
        weights=weights,
        factory=model,
        data=data,
        classes=options.names(classes),
        threats=certifying.threats(threat, claimed),
        split=split,
        images=images,
        budget=budget,
        seed=seed,
        out=out,
        resume=resume,
        batch_size=batch_size,
        progress=progress,
    )
    if out is not None:
        check_writable(out / "certified.json")
    found = certifying.run(asked, claimed)
    console = Terminal()
    if found.verdict is not None:
        console.print(verdict_line(found.verdict))
    console.print(certifying.table(found))
    if out is not None:
        certifying.write(found, out)
        typer.echo(f"Written: {out / 'certified.json'}, {out / 'certified.svg'}")
    if found.verdict is not None:
        raise typer.Exit(found.verdict.exit_status)
