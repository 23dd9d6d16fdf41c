import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from retemper.evaluation import Example
from retemper.report import Results, wording, write_page

Make = Callable[..., Results]
Examples = Mapping[str, Sequence[Example]]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class _Page(HTMLParser):
    """Elements with their attributes, all visible text, and the tags that were not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split(" ")).replace("\n", " ")

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _example(index: int = 0, label: int = 0, shape: tuple[int, ...] = (1, 4, 4)) -> Example:
    return Example(index, label, 1, torch.zeros(shape), torch.full(shape, 0.1))


def _write(results: Results, folder: Path, examples: Examples | None = None) -> str:
    path = folder / "report.html"
    write_page(results, examples or {}, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(make_results: Make, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ordinary page, for what only needs to be looked at."""
    folder = tmp_path_factory.mktemp("page")
    html = _write(make_results(), folder, {"plain": [_example(7), _example(8, label=2)], "pgd": []})
    assert list(folder.iterdir()) == [folder / "report.html"]
    return html


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time: left out where only words and tables matter."""
    for name in ("robustness_figures", "profile_figures"):
        monkeypatch.setattr(f"retemper.report.page.{name}", lambda _results: {})


def test_the_page_asks_for_nothing_else(html: str) -> None:
    for address in re.findall(r'(\S*)=?"(?:https?:)?//[^"]*"', html):
        assert address in ("xmlns=", "xmlns:xlink=")
    page = _Page(html)
    assert not page.of("script")
    assert not page.of("link")
    assert all(image["src"].startswith("data:") for image in page.of("img"))  # type: ignore[union-attr]  # a src is there
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_the_page_is_well_formed_with_its_landmarks(html: str) -> None:
    page = _Page(html)
    assert page.open == []
    assert len(page.of("h1")) == 1
    assert all(header.get("scope") for header in page.of("th"))
    assert all("alt" in image for image in page.of("img"))
    assert all(figure["aria-label"] for figure in page.of("figure") if figure.get("role") == "img")
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_every_figure_of_the_table_is_there(make_results: Make, tmp_path: Path, seeds: tuple[int, ...]) -> None:
    results = make_results(seeds=seeds)
    html = _write(results, tmp_path)
    body = re.search(r'<table class="accuracy">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert body is not None
    for row, written in zip(results.rows(), body[1].split("</tr>"), strict=False):
        text = _Page(written.strip().removeprefix("<tr>")).text
        assert row.objective in text
        assert results.objectives[row.objective]["formula"] in text
        for share in (row.clean, *row.robust.values()):
            assert wording.share(share.mean) in text
            assert wording.interval(share.interval) in text
        for mean, ends in row.gain.values():
            assert wording.points(mean) in text
            assert wording.points_interval(ends) in text
        assert wording.ratio(row.time_ratio) in text
        assert (wording.spread(row.time_ratio) in text) or row.objective == "plain"
        assert wording.duration([network.training_seconds for network in results.of(row.objective)]) in text


def test_the_bound_is_named_with_the_attacks_and_their_settings(make_results: Make, tmp_path: Path) -> None:
    text = _Page(_write(make_results(), tmp_path)).text
    assert (
        "Robust accuracy here is an upper bound: what these attacks did not break. An attack that fails proves nothing."
    ) in text
    assert "apgd-ce (100 steps, 1 restart) and apgd-dlr (100 steps, 1 restart)" in text


def test_what_it_takes_to_repeat_it_is_there(html: str) -> None:
    text = _Page(html).text
    for fact in (
        "retemper compare",
        "2.13.0",
        "0123456789abcdef",
        "0, 1",
        "20\xa0test images",
        "Wilson",
        "Student's t",
    ):
        assert fact in text


def test_names_are_text_and_never_markup(make_results: Make, tmp_path: Path) -> None:
    name = "<b>&\"'"
    results = make_results(objectives=("plain", name), layers=(name,))
    results = replace(
        results,
        data=results.data | {"name": name, "note": name, "classes": [name, name, name]},
        settings={"model": name, "command": name, "split": name, name: name},
        environment={name: [name]},
        attacks=(name,),
        objectives={
            key: dict.fromkeys(("formula", "summary"), name) | {"retrains": True} for key in results.objectives
        },
    )
    html = _write(results, tmp_path, {name: [_example()]})
    page = _Page(html)
    assert "<b>" not in html
    assert not page.of("b")
    assert page.text.count(name) > 10
    assert any(image["alt"] == f"Original: {name}" for image in page.of("img"))


@pytest.mark.usefixtures("no_plots")
def test_without_plain_training_there_are_no_gains_and_it_says_so(make_results: Make, tmp_path: Path) -> None:
    html = _write(make_results(objectives=("entropic", "pgd")), tmp_path)
    assert 'class="gain' not in html
    assert "×" not in _Page(html).text
    assert f'<span class="share">{wording.duration([10, 11])}</span>' in html
    assert "Plain training is not among the objectives" in _Page(html).text


@pytest.mark.usefixtures("no_plots")
def test_one_seed_makes_no_claim_about_seeds(make_results: Make, tmp_path: Path) -> None:
    text = _Page(_write(make_results(seeds=(0,)), tmp_path)).text
    assert "means over 1" not in text
    assert "with one seed, how much training varies was not measured" in text


def test_one_threat_is_enough(make_results: Make, tmp_path: Path) -> None:
    page = _Page(_write(make_results(threats=("l2:0.5",)), tmp_path))
    assert "Robust, L2 radius" in page.text
    assert "L∞ radius" not in page.text


def test_networks_without_the_same_layers_are_shown_side_by_side(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    networks = tuple(
        replace(network, layers=network.layers[:1]) if network.objective == "plain" else network
        for network in results.networks
    )
    html = _write(replace(results, networks=networks), tmp_path)
    groups = re.findall(r'scope="rowgroup" rowspan="(\d)">(\w+)<', html)
    assert groups == [("3", "conv1_act"), ("2", "dense1_act")]


def test_networks_without_profiles_have_no_section_on_layers(make_results: Make, tmp_path: Path) -> None:
    assert "What the layers keep" not in _write(make_results(layers=()), tmp_path)


def test_nan_is_never_printed(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    networks = tuple(
        replace(
            network,
            layers=(
                replace(network.layers[0], units=1, activation_entropy=0.0, effective_rank=math.nan),
                network.layers[1],
            ),
        )
        for network in results.networks
    )
    results = replace(results, networks=networks, settings=results.settings | {"learning_rate": math.nan})
    assert not re.search(r"\bnan\b", _Page(_write(results, tmp_path)).text, re.IGNORECASE)


@pytest.mark.usefixtures("no_plots")
def test_the_datas_note_is_there_if_there_is_one(html: str, make_results: Make, tmp_path: Path) -> None:
    assert "About the data" not in html
    results = make_results()
    results = replace(results, data=results.data | {"note": "images stored as JPEG"})
    assert "images stored as JPEG" in _write(results, tmp_path)


def test_examples_are_shown_with_their_classes_and_one_magnification(html: str) -> None:
    page = _Page(html)
    assert "magnified 5 times" in page.text
    assert "test image 7" in page.text
    assert "L∞\xa00.1, L2\xa00.4" in page.text
    pictures = [image["alt"] for image in page.of("img") if image["alt"]]
    assert pictures[3:] == ["Original: two", "Adversarial: taken for one", "Difference, magnified 5 times"]
    assert "No adversarial example was kept for this objective." in page.text


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("examples", [{}, {"plain": [], "pgd": []}, {"plain": [_example(shape=(16,))], "pgd": []}])
def test_without_pictures_the_section_is_left_out(make_results: Make, tmp_path: Path, examples: Examples) -> None:
    assert "Adversarial examples" not in _write(make_results(), tmp_path, examples)


def test_the_same_results_give_the_same_bytes(make_results: Make, tmp_path: Path) -> None:
    examples = {"plain": [_example()]}
    assert _write(make_results(), tmp_path, examples) == _write(make_results(), tmp_path, examples)


@pytest.mark.usefixtures("no_plots")
def test_a_page_written_again_replaces_the_old_one_whole(make_results: Make, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old" * 1_000_000)
    assert "old" * 10 not in _write(make_results(), tmp_path)


@pytest.mark.usefixtures("no_plots")
def test_images_are_called_by_the_split_that_was_attacked(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    results.settings["split"] = "validation"
    html = _write(results, tmp_path, {"plain": [_example(7)], "pgd": []})
    assert "validation image 7" in html
    assert "test image" not in html
