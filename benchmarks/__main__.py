"""Run a benchmark by name and print its figures."""

import argparse
import json
from dataclasses import asdict

from benchmarks import loop, precision, steps
from benchmarks.figures import circumstances, print_figures

BENCHMARKS = {"steps": steps, "loop": loop, "precision": precision}


def main() -> None:
    """List the benchmarks, or run one, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=[*BENCHMARKS, "all"], help="which; none lists them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeats", type=int, default=30, help="pairs of measurements (default: 30)")
    arguments = parser.parse_args()
    if arguments.name is None:
        for name, module in BENCHMARKS.items():
            print(f"{name:10} {(module.__doc__ or '').splitlines()[0]}")
        return
    chosen = BENCHMARKS if arguments.name == "all" else {arguments.name: BENCHMARKS[arguments.name]}
    figures = [figure for module in chosen.values() for figure in module.run(arguments.repeats)]
    if arguments.json:
        print(json.dumps({**circumstances(), "figures": [asdict(figure) for figure in figures]}, indent=1))
    else:
        print_figures(figures)


if __name__ == "__main__":
    main()
