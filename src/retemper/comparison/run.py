"""The comparison: every objective from every seed, one table, one JSON, one page."""

from collections.abc import Callable
from pathlib import Path

from retemper.comparison.networks import Networks
from retemper.comparison.settings import Comparison
from retemper.data import Data, load
from retemper.environment import describe
from retemper.errors import CheckpointError
from retemper.evaluation import Example, plan
from retemper.files import read_json, write_json
from retemper.models.hashing import architecture_hash, weights_hash
from retemper.objectives import preset
from retemper.report import Network, Results, write_page
from retemper.training import fresh

WRITTEN = ("results.json", "report.html")


def compare(
    comparison: Comparison,
    out: Path | str,
    *,
    progress: bool = True,
    finished: Callable[[Network], None] = lambda _network: None,
) -> Results:
    """Train every objective from the same start, attack all networks alike, and write it down.

    Methods that retrain start from the same plainly trained network, and plain training gets the same extra
    epochs; the others train from the same fresh weights for as many epochs in all. The attacked images
    are looked at once, after training. `out` gets `results.json`, `report.html`, and a folder for each network; the
    same call goes on where a killed one was.

    Args:
        comparison: what is compared, on what, and how it is attacked.
        out: the folder, made where there is none.
        progress: show one line that says where it is.
        finished: called with every network as it is done.

    Raises:
        RetemperError: the data, the model or a setting is wrong, or `out` holds another comparison, or the results of
            more objectives or seeds.
        OSError: `out` cannot be written.
    """
    folder = Path(out)
    data = load(comparison.data, classes=comparison.classes or None)
    networks = Networks(comparison, data, folder, progress=progress)
    networks.check()
    _claim(folder, comparison, data)
    entries: list[Network] = []
    examples: dict[str, list[Example]] = {}
    for seed in range(comparison.seeds):
        for objective in comparison.objectives:
            network, found = networks.network(objective, seed)
            entries.append(network)
            examples.setdefault(objective, found)
            finished(network)
    results = _results(comparison, data, entries)
    figures, page = (folder / name for name in WRITTEN)
    write_json(figures, results.as_json())
    write_page(results, examples, page)
    return results


def _claim(folder: Path, comparison: Comparison, data: Data) -> None:
    """Write down what the folder is for, or make sure that it is for this.

    Raises:
        CheckpointError: the folder holds another comparison.
    """
    path = folder / "comparison.json"
    # Another version may have other defaults, and other data another fingerprint: both make it another comparison.
    ours = comparison.as_dict() | {"fingerprint": data.fingerprint(), "retemper": describe()["retemper"]}
    # What a factory builds may have changed under the same name.
    network = fresh(comparison.model, data, activation=comparison.activation)
    ours["network"] = [architecture_hash(network), weights_hash(network)]
    if not path.is_file():
        found = [*folder.glob("seed-*"), *(folder / name for name in WRITTEN if (folder / name).exists())]
        if found:
            raise CheckpointError(
                f"{folder} holds {found[0].name}, but no {path.name} that says of which comparison. Choose another "
                "folder with --out."
            )
        write_json(path, ours)
        return
    theirs = read_json(path)
    # More seeds or objectives go on from what is there.
    growing = {"seeds", "objectives"}
    changed = [key for key in ours if key not in growing and theirs.get(key) != ours[key]]
    if changed:
        listed = "; ".join(f"{key} was {theirs.get(key)!r} and is {ours[key]!r}" for key in changed)
        raise CheckpointError(f"{folder} holds another comparison ({listed}). Choose another folder with --out.")
    _check_no_fewer(folder, comparison)
    write_json(path, ours)


def _check_no_fewer(folder: Path, comparison: Comparison) -> None:
    """Make sure that what a finished comparison wrote would not be replaced by a part of it.

    Raises:
        CheckpointError: the results there are of objectives or seeds that are not asked for.
    """
    figures = folder / WRITTEN[0]
    if not figures.is_file():
        return
    settings = read_json(figures)["settings"]
    left_out = [name for name in settings["objectives"] if name not in comparison.objectives]
    if settings["seeds"] > comparison.seeds:
        left_out.append(f"--seeds {settings['seeds']}")
    if left_out:
        raise CheckpointError(
            f"{figures} has more than is asked for: {', '.join(left_out)}. Ask for these, too, or choose another "
            "folder with --out."
        )


def _results(comparison: Comparison, data: Data, networks: list[Network]) -> Results:
    threat = comparison.training_threat()
    objectives = {}
    for name in comparison.objectives:
        way, loss = preset(name, [threat])
        objectives[name] = {"formula": repr(loss), "summary": way.summary, "retrains": way.retrains}
    attacks = plan(comparison.attacks, steps=comparison.steps, restarts=comparison.restarts, classes=len(data.classes))
    return Results(
        settings=comparison.as_dict() | {"command": comparison.command()},
        environment=describe(),
        data={
            "name": data.name,
            "note": data.note,
            "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
            "classes": list(data.classes),
            "shape": list(data.shape),
            "fingerprint": data.fingerprint(),
        },
        objectives=objectives,
        attacks=tuple(str(attack) for attack in attacks),
        networks=tuple(networks),
    )
