from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from retemper.cli.profile_tables import difference_table, profile_table
from retemper.data import load
from retemper.information import QUANTITIES, LayerProfile, changes, difference

DATA = load("digits")


def layer(name: str, units: int, active: float, activation_entropy: float) -> LayerProfile:
    """With replicates that lie evenly within 0.2 of each figure."""
    figures = {"active": active, "activation_entropy": activation_entropy}
    figures |= {"unit_entropy": 0.4, "renyi_entropy": 0.8, "effective_rank": 3.2}
    replicates = {quantity: value + np.linspace(-0.2, 0.2, 41) for quantity, value in figures.items()}
    return LayerProfile(name, units, 1250, 50, **figures, replicates=replicates)  # type: ignore[arg-type]  # all floats


LAYERS = [layer("conv1_act", 1024, 0.25, 3.5), layer("dense1_act", 64, 0.35, 1.5)]


def lines(table: Table, width: int = 80) -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_every_figure_stands_beside_its_maximum_its_interval_and_its_change() -> None:
    shown = lines(profile_table("plain", LAYERS, changes(LAYERS), DATA))
    assert shown[:2] == ["plain on digits: 1,250 test images", "layer figure of 95 % interval change"]
    assert shown[3:9] == [
        "conv1_act 1,024 units",
        "activation entropy 3.50 6.93 3.31–3.69",
        "unit entropy 0.400 0.693 0.210–0.590",
        "Renyi entropy 0.800 0.986 0.610–0.986",
        "effective rank 3.2 49.0 3.0–3.4",
        "active units 25.0 100.0 6.0–44.0",
    ]
    assert shown[10:16] == [
        "dense1_act 64 units",
        # 1.5 of log 64 is 36.1 %, 3.5 of log 1024 is 50.5 %.
        "activation entropy 1.50 4.16 1.31–1.69 −14.4",
        "unit entropy 0.400 0.693 0.210–0.590 0.0",
        "Renyi entropy 0.800 0.986 0.610–0.986 0.0",
        "effective rank 3.2 49.0 3.0–3.4 0.0",
        "active units 35.0 100.0 16.0–54.0 +10.0",
    ]
    assert "of the first 50 images" in " ".join(shown)


def test_two_networks_stand_side_by_side() -> None:
    others = [replace(each, active=each.active + 0.1, renyi_entropy=0.9) for each in LAYERS]
    shown = lines(difference_table({"plain": LAYERS, "entropic": others}, difference(LAYERS, others), DATA))
    assert shown[:2] == [
        "plain minus entropic on digits: 1,250 test images",
        "layer plain entropic of difference",
    ]
    assert shown[3:9] == [
        "conv1_act 1,024 units",
        "activation entropy 3.50 3.50 6.93 0.00 (0.00 to 0.00)",
        "unit entropy 0.400 0.400 0.693 0.000 (0.000 to 0.000)",
        "Renyi entropy 0.800 0.900 0.986 −0.100 (0.000 to 0.000)",
        "effective rank 3.2 3.2 49.0 0.0 (0.0 to 0.0)",
        "active units 25.0 35.0 100.0 −10.0 (0.0 to 0.0)",
    ]


def test_a_difference_is_bold_where_zero_lies_outside_its_interval() -> None:
    ours = LAYERS[0]
    theirs = replace(ours, replicates=ours.replicates | {"active": ours.replicates["active"] - 0.1})
    table = difference_table({"a": [ours], "b": [theirs]}, difference([ours], [theirs]), DATA)
    _heading, *cells = table.columns[-1].cells
    assert [str(cell.style) for cell in cells] == ["", "", "", "", "bold"]  # type: ignore[union-attr]  # texts all


def test_networks_with_names_too_long_for_a_column_are_first_and_second() -> None:
    networks = {"mlp-entropic-retrained": LAYERS, "plain": LAYERS}
    shown = lines(difference_table(networks, difference(LAYERS, LAYERS), DATA))
    assert " ".join(shown[:2]) == ("mlp-entropic-retrained (first) minus plain (second) on digits: 1,250 test images")
    assert "layer first second of difference" in shown


@pytest.mark.parametrize("network", ["entropic", "mlp-entropic-retrained"])
@pytest.mark.parametrize("name", ["dense1_act", "block4b.norm2_act", "features.stage1.act_last"])
def test_names_and_quantities_are_whole_in_80_columns(network: str, name: str) -> None:
    # Figures and intervals as wide as they become.
    ours = replace(LAYERS[0], layer=name, units=65_536, gram_images=1250)
    replicates = {quantity: values + 0.5 for quantity, values in ours.replicates.items()}
    theirs = replace(ours, unit_entropy=0.9, replicates=replicates)
    networks = {network: [ours], "original": [theirs]}
    side_by_side = lines(difference_table(networks, difference([ours], [theirs]), DATA))
    assert "unit entropy 0.400 0.900 0.693 −0.500 (−0.500 to −0.500)" in side_by_side
    for shown in (side_by_side, lines(profile_table(network, [ours], [], DATA))):
        units = "65,536 units"
        assert f"{name} {units}" in shown or shown.index(units) == shown.index(name) + 1
        for words in QUANTITIES.values():
            assert any(line.startswith(f"{words} ") for line in shown), words
        assert any(line.startswith("effective rank") and "1249.0" in line for line in shown)


@pytest.mark.parametrize("name", ["features.[0].block", "a" * 70])
def test_any_name_leaves_every_figure_readable_in_80_columns(name: str) -> None:
    ours = [replace(LAYERS[0], layer=name)]
    for table in (
        profile_table(name, ours, [], DATA),
        difference_table({name: ours, "b": ours}, difference(ours, ours), DATA),
    ):
        shown = lines(table)
        assert "…" not in "".join(shown)
        assert any("0.693" in line for line in shown)


def test_a_note_of_the_data_is_told() -> None:
    data = replace(DATA, note="JPEG copy")
    assert "Note: JPEG copy." in " ".join(lines(profile_table("plain", LAYERS, [], data)))
