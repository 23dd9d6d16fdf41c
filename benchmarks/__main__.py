"""Run a benchmark by name and print its figures."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from benchmarks import alarms, attacks, loop, pairs, pairs_peer, peers, penalty, precision, recipes, steps
from benchmarks.figures import circumstances, print_figures

RATIOS: dict[str, Any] = {"steps": steps, "loop": loop, "precision": precision, "penalty": penalty, "pairs": pairs}
# This needs what `make bench-peers` installs, so that `all` leaves it out.
PEER_RATIOS: dict[str, Any] = {"pairs-peer": pairs_peer}
# These keep what is done under `runs`, and `all` leaves them out: they take from ten minutes to hours.
TABLES: dict[str, Any] = {"attacks": attacks, "alarms": alarms, "peers": peers, "recipes": recipes}


def main() -> None:
    """List the benchmarks, or run one, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "name", nargs="?", choices=[*RATIOS, *PEER_RATIOS, *TABLES, "all"], help="which one (default: list them)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeats", type=int, default=30, help="pairs of measurements (default: 30)")
    parser.add_argument(
        "--part",
        default="1/1",
        metavar="K/N",
        help="of attacks, alarms, peers and recipes: every N-th row, from the K-th (default: all)",
    )
    parser.add_argument(
        "--only", metavar="PROTOCOL", choices=recipes.PROTOCOLS, help=f"of recipes: {', '.join(recipes.PROTOCOLS)}"
    )
    arguments = parser.parse_args()
    if arguments.name is None:
        for name, module in (RATIOS | PEER_RATIOS | TABLES).items():
            print(f"{name:10} {(module.__doc__ or '').splitlines()[0]}")
        return
    if arguments.only is not None and arguments.name != "recipes":
        parser.error("--only is of recipes alone")
    if arguments.name in TABLES:
        part, parts = (int(number) for number in arguments.part.split("/"))
        table = TABLES[arguments.name]
        only = {"only": arguments.only} if arguments.name == "recipes" else {}
        found = table.run(part - 1, parts, **only)
        print(json.dumps([asdict(row) for row in found], indent=1) if arguments.json else table.table(found))
        return
    chosen = RATIOS if arguments.name == "all" else {arguments.name: (RATIOS | PEER_RATIOS)[arguments.name]}
    figures = [figure for module in chosen.values() for figure in module.run(arguments.repeats)]
    if arguments.json:
        print(json.dumps({**circumstances(), "figures": [asdict(figure) for figure in figures]}, indent=1))
    else:
        print_figures(figures)


if __name__ == "__main__":
    main()
