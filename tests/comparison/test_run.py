import importlib
import json
import re
import shutil
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch

from retemper.comparison import Comparison, compare
from retemper.data import load
from retemper.errors import CheckpointError, LayerError
from retemper.evaluation import evaluate, plan
from retemper.models import load as load_model
from retemper.report import Results
from retemper.threats import Linf

SMALL = Comparison(
    model="mlp", objectives=("plain", "entropic:0.02", "pgd"), threats=("linf:0.05,0.1", "l2:0.5"), epochs=3,
    retrain_epochs=1, seeds=2, images=60, steps=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("comparison")
    return out, compare(SMALL, out, progress=False)


def test_results_are_on_disk_as_they_were_returned(finished: tuple[Path, Results]) -> None:
    out, results = finished
    assert Results.from_json(json.loads((out / "results.json").read_text())) == results
    assert [(network.seed, network.objective) for network in results.networks] == [
        (seed, objective) for seed in (0, 1) for objective in SMALL.objectives
    ]


def test_robust_accuracy_is_what_the_written_network_has(finished: tuple[Path, Results]) -> None:
    out, results = finished
    model = load_model(out / "seed-1" / "entropic-0.02" / "model.safetensors")
    again = evaluate(
        model,
        load("digits").test.take(60),
        [Linf(0.05), Linf(0.1)],
        attacks=plan(SMALL.attacks, steps=3),
        alarms=False,
        progress=False,
    )
    network = results.of("entropic:0.02")[1]
    for found, outcome in zip(again.robustness, network.outcomes, strict=False):
        assert "".join("1" if stands else "0" for stands in found.standing) == outcome.standing


def test_retraining_starts_from_the_base_and_its_time_counts(finished: tuple[Path, Results]) -> None:
    out, results = finished
    base = json.loads((out / "seed-0" / "base" / "training.json").read_text())
    entropic = json.loads((out / "seed-0" / "entropic-0.02" / "training.json").read_text())
    pgd = json.loads((out / "seed-0" / "pgd" / "training.json").read_text())
    assert [len(run["history"]) for run in (base, entropic, pgd)] == [3, 1, 4]
    assert pgd["identity"]["start"] == base["identity"]["start"]
    assert entropic["identity"]["start"] != base["identity"]["start"]
    seconds = sum(row["seconds"] for run in (base, entropic) for row in run["history"])
    assert results.of("entropic:0.02")[0].training_seconds == pytest.approx(seconds)


def test_seeds_differ(finished: tuple[Path, Results]) -> None:
    first, second = finished[1].of("plain")
    assert first.clean != second.clean or first.outcomes != second.outcomes


def test_the_page_is_written(finished: tuple[Path, Results]) -> None:
    out, results = finished
    page = (out / "report.html").read_text()
    for attack in results.attacks:
        assert attack in page
    assert "entropic:0.02" in page


def test_the_same_call_reads_what_is_there(finished: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch) -> None:
    out, results = finished
    monkeypatch.setattr("retemper.comparison.networks.retrain", lambda *_a, **_o: pytest.fail("trained again"))
    monkeypatch.setattr("retemper.comparison.networks.evaluate", lambda *_a, **_o: pytest.fail("attacked again"))
    before = (out / "results.json").read_text()
    assert compare(SMALL, out, progress=False).networks == results.networks
    assert (out / "results.json").read_text() == before


def test_a_killed_comparison_goes_on_where_it_was(
    finished: tuple[Path, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    seen: list[str] = []

    def die_after_two(network) -> None:  # type: ignore[no-untyped-def]
        seen.append(network.objective)
        if len(seen) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        compare(SMALL, tmp_path, progress=False, finished=die_after_two)
    resumed = compare(SMALL, tmp_path, progress=False)
    for ours, theirs in zip(resumed.networks, finished[1].networks, strict=True):
        assert (ours.clean, ours.outcomes) == (theirs.clean, theirs.outcomes)
        for our_layer, their_layer in zip(ours.layers, theirs.layers, strict=True):
            # Eigenvalues differ in their last digits from call to call.
            assert astuple(our_layer)[1:-1] == pytest.approx(astuple(their_layer)[1:-1], rel=1e-9)


def test_another_comparison_in_the_same_folder_is_refused(finished: tuple[Path, Results]) -> None:
    out, _ = finished
    before = (out / "results.json").read_text()
    other = Comparison(**{**vars(SMALL), "epochs": 4})
    with pytest.raises(CheckpointError, match=r"epochs was 3 and is 4.*another folder"):
        compare(other, out, progress=False)
    assert (out / "results.json").read_text() == before


@pytest.mark.parametrize(
    ("fewer", "named"),
    [({"objectives": ("pgd", "plain")}, r"entropic:0\.02\. Ask for these"), ({"seeds": 1}, "--seeds 2. Ask for these")],
)
def test_results_are_not_replaced_by_a_part_of_them(
    finished: tuple[Path, Results], fewer: dict[str, object], named: str
) -> None:
    out, _ = finished
    before = [(out / name).read_bytes() for name in ("results.json", "comparison.json", "report.html")]
    with pytest.raises(CheckpointError, match=rf"results.json has more than is asked for: {named}"):
        compare(replace(SMALL, **fewer), out, progress=False)
    assert [(out / name).read_bytes() for name in ("results.json", "comparison.json", "report.html")] == before


def test_the_global_generator_stays_as_it_was(finished: tuple[Path, Results]) -> None:
    before = torch.get_rng_state()
    compare(SMALL, finished[0], progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_of_which_nothing_says_whose_they_are_are_not_read_back(
    finished: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "copy")
    (tmp_path / "copy" / "comparison.json").unlink()
    with pytest.raises(CheckpointError, match=r"seed-\d, but no comparison.json"):
        compare(SMALL, tmp_path / "copy", progress=False)


@pytest.mark.parametrize("name", ["results.json", "report.html"])
def test_files_that_no_comparison_wrote_are_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(CheckpointError, match=f"holds {re.escape(name)}, but no comparison.json"):
        compare(SMALL, tmp_path, progress=False)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_an_objective_that_cannot_be_trained_on_is_known_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unseen.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(64, 10)\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(torch.relu(inputs.flatten(1)))\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = replace(SMALL, model="unseen:Net", objectives=("plain", "entropic"))
    with pytest.raises(LayerError, match="no nonlinearity that is a module"):
        compare(asked, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_factory_that_builds_another_network_now_is_another_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = replace(SMALL, model="changing:make", objectives=("plain",), seeds=1, epochs=1)
    for width in (8, 16):
        (tmp_path / "changing.py").write_text(
            "from torch import nn\n"
            "def make():\n"
            f"    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, 10))\n"
        )
        monkeypatch.delitem(sys.modules, "changing", raising=False)
        importlib.invalidate_caches()
        if width == 8:
            compare(asked, tmp_path / "out", progress=False)
        else:
            with pytest.raises(CheckpointError, match="network was"):
                compare(replace(asked, seeds=2), tmp_path / "out", progress=False)
