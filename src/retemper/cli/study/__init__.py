"""`retemper study`."""

from collections.abc import Callable

import typer

from retemper.cli.study import contests, defaults, differential, entropic, features, information, low_rank

study = typer.Typer(
    name="study", help="The papers' claims, each measured by one command.", no_args_is_help=True, rich_markup_mode=None
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "low-rank": low_rank.low_rank,
    "features": features.features,
    "differential": differential.differential,
    "input-gradient": contests.input_gradient,
    "multi-class": contests.multi_class,
    "information": information.information,
    "retraining": contests.retraining,
    "entropic": entropic.entropic,
    "defaults": defaults.defaults,
}
for name, command in _COMMANDS.items():
    study.command(name)(command)
