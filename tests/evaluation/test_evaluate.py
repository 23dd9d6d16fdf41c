import contextlib
import importlib
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation import Attack, budget, evaluate, plan, wilson
from retemper.noise import Noise
from retemper.threats import L2, Linf, Threat


def network(classes: int = 4, features: int = 9) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 12), nn.Tanh(), nn.Linear(12, classes))
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)
    return model


def images(model: nn.Module, count: int = 60, wrong: int = 10) -> Split:
    """Images that the model answers rightly, but for the first few."""
    inputs = torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    outputs = model(inputs)
    labels = outputs.argmax(1)
    labels[:wrong] = outputs[:wrong].argmin(1)
    return Split(inputs, labels)


def stub(name: str, run: Callable[..., Tensor]) -> Attack:
    return Attack(name, "stub", run)


class Breaks:
    """A stub that gives some images, told by their first pixel, a wrong answer; counts what it was asked."""

    def __init__(self, model: nn.Module, chosen: Callable[[float], bool], least_radius: float = 0.0) -> None:
        self.model, self.chosen, self.least_radius, self.calls = model, chosen, least_radius, []

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, noise: Any) -> Tensor:
        self.calls.append((threat, [float(value) for value in inputs[:, 0, 0, 0]]))
        candidates = inputs.clone()
        for place, image in enumerate(inputs):
            if self.chosen(float(image[0, 0, 0])) and threat.radius >= self.least_radius:
                candidates[place] = another_answer(self.model, image, int(labels[place]))
        return candidates


def another_answer(model: nn.Module, image: Tensor, label: int) -> Tensor:
    """Some point of [0, 1] that is answered otherwise."""
    generator = torch.Generator().manual_seed(3)
    candidates = torch.rand(500, *image.shape, generator=generator)
    return candidates[model(candidates).argmax(1) != label][0]


EVERYWHERE = Linf(1.0)
BOTH = ("apgd-ce", "apgd-dlr")


def test_an_image_stands_only_if_no_attack_run_alone_breaks_it() -> None:
    model = network()
    split = images(model)
    attacks = plan(["fgsm", "pgd-margin", "apgd-ce"], steps=5)
    threats = [Linf(0.05), L2(0.3), Linf(0.2)]
    evaluation = evaluate(model, split, threats, attacks=attacks, batch_size=1000, alarms=False, progress=False)
    inputs, labels = split.batch(slice(None))
    assert evaluation.clean.tolist() == [False] * 10 + [True] * 50
    # The attacks alone, each with the noise of the images that the evaluation gives it.
    for found in evaluation.robustness:
        smaller = [
            other for other in threats if other.norm == found.threat.norm and other.radius <= found.threat.radius
        ]
        standing = list(range(10, 60))
        for threat in sorted(smaller, key=lambda threat: threat.radius):
            for attack in attacks:
                noise = Noise.keyed(torch.tensor(standing), 0, attack.name)
                moved = attack.run(model, inputs[standing], labels[standing], threat, noise)
                answers = model(moved).argmax(1).tolist()
                standing = [
                    place for place, answer in zip(standing, answers, strict=True) if answer == int(labels[place])
                ]
        assert found.standing.nonzero()[0].tolist() == standing
        assert 0 < len(standing) < 50
        assert found.accuracy == len(standing) / 60
        assert found.interval == wilson(len(standing), 60)
    assert evaluation.clean_accuracy == 50 / 60
    assert evaluation.clean_interval == wilson(50, 60)
    assert evaluation.attacks == tuple(str(attack) for attack in attacks)


def test_only_images_that_still_stand_go_on() -> None:
    model = network()
    split = images(model, 40, 5)
    pixels = split.inputs[:, 0, 0, 0].tolist()
    first = Breaks(model, lambda pixel: pixel < 0.3)
    second = Breaks(model, lambda pixel: pixel < 0.6)
    third = Breaks(model, lambda _pixel: False)
    attacks = [stub("first", first), stub("second", second), stub("third", third)]
    evaluation = evaluate(model, split, [EVERYWHERE], attacks=attacks, batch_size=7, alarms=False, progress=False)
    right = pixels[5:]
    assert [pixel for _, asked in first.calls for pixel in asked] == right
    assert [pixel for _, asked in second.calls for pixel in asked] == [pixel for pixel in right if pixel >= 0.3]
    assert [pixel for _, asked in third.calls for pixel in asked] == [pixel for pixel in right if pixel >= 0.6]
    assert all(len(asked) <= 7 for _, asked in first.calls)
    assert evaluation.robustness[0].broken_by == {
        "first": sum(pixel < 0.3 for pixel in right),
        "second": sum(0.3 <= pixel < 0.6 for pixel in right),
    }


@pytest.mark.parametrize("wrong", [0, 5])
def test_no_attack_runs_once_no_image_stands(wrong: int) -> None:
    model = network()
    first, second = Breaks(model, lambda _pixel: True), Breaks(model, lambda _pixel: True)
    evaluation = evaluate(
        model,
        images(model, 5, wrong),
        [EVERYWHERE, L2(9)],
        attacks=[stub("first", first), stub("second", second)],
        alarms=False,
        progress=False,
    )
    assert [found.accuracy for found in evaluation.robustness] == [0, 0]
    assert len(first.calls) == (2 if wrong == 0 else 0)
    assert second.calls == []


def test_robust_accuracy_never_rises_with_the_radius_even_if_attacks_get_worse() -> None:
    model = network()
    split = images(model)

    def worse_when_larger(model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, noise: Any) -> Tensor:
        return pgd_like(model, inputs, labels, threat, noise) if threat.radius < 0.2 else inputs

    pgd_like = plan(["pgd-ce"], steps=5)[0].run
    threats = [Linf(0.3), Linf(0.1), L2(0.5), Linf(0.05), L2(0.1), Linf(0.1)]
    evaluation = evaluate(model, split, threats, attacks=[stub("odd", worse_when_larger)], alarms=False, progress=False)
    assert [found.threat for found in evaluation.robustness] == threats
    by_threat = {found.threat: found for found in evaluation.robustness}
    for norm in (Linf, L2):
        ordered = [
            by_threat[threat] for threat in sorted(by_threat, key=lambda t: t.radius) if isinstance(threat, norm)
        ]
        for smaller, larger in pairwise(ordered):
            assert (smaller.standing >= larger.standing).all()
            assert larger.broken_by["smaller radius"] == sum(smaller.broken_by.values())
    assert by_threat[Linf(0.05)].accuracy > by_threat[Linf(0.1)].accuracy
    assert "smaller radius" not in by_threat[Linf(0.05)].broken_by
    assert evaluation.robustness[1] is evaluation.robustness[5]


def test_broken_and_standing_images_add_up_to_those_answered_rightly() -> None:
    model = network()
    evaluation = evaluate(
        model, images(model), [Linf(0.05), Linf(0.2)], attacks=plan(BOTH, steps=5), alarms=False, progress=False
    )
    for found in evaluation.robustness:
        assert sum(found.broken_by.values()) + int(found.standing.sum()) == int(evaluation.clean.sum())
        assert not (found.standing & ~evaluation.clean).any()


CHEATS: dict[str, Callable[[Tensor, Threat], Tensor]] = {
    "leaves the ball": lambda inputs, threat: 1 - inputs,
    "leaves the bounds": lambda inputs, threat: inputs - threat.radius,
    "returns NaN": lambda inputs, threat: inputs * torch.nan,
    "returns one NaN": lambda inputs, threat: inputs.index_fill(3, torch.tensor(1), torch.nan),
    "returns infinity": lambda inputs, threat: inputs + torch.inf,
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheating_attack_breaks_nothing(cheat: str) -> None:
    class Picky(nn.Module):
        """Answers 0 on its own images alone, and NaN where it is asked for NaN."""

        def forward(self, inputs: Tensor) -> Tensor:
            own = ((inputs - originals[:, None]).flatten(2).abs().amax(2) < 1e-6).any(0)
            score = own.float() + 0 * inputs.sum((1, 2, 3))
            return torch.stack([score, 0.5 + 0 * score], 1)

    originals = torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.05
    split = Split(originals, torch.zeros(8, dtype=torch.int64))
    attack = stub("cheat", lambda model, inputs, labels, threat, noise: CHEATS[cheat](inputs, threat))
    evaluation = evaluate(Picky(), split, [Linf(0.1)], attacks=[attack], keep=3, alarms=False, progress=False)
    assert evaluation.robustness[0].accuracy == 1
    assert evaluation.robustness[0].examples == ()
    honest = stub("honest", lambda model, inputs, labels, threat, noise: inputs + 0.09)
    assert (
        evaluate(Picky(), split, [Linf(0.1)], attacks=[honest], alarms=False, progress=False).robustness[0].accuracy
        == 0
    )


def test_a_candidate_outside_does_not_count_even_if_the_model_changes_its_mind() -> None:
    class Moody(nn.Module):
        answer = 0

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.eye(2)[self.answer].expand(len(inputs), 2)

    def cheat(model: Moody, inputs: Tensor, *_others: Any) -> Tensor:
        model.answer = 1
        return inputs + 0.5

    split = Split(torch.zeros(4, 1, 3, 3), torch.zeros(4, dtype=torch.int64))
    evaluation = evaluate(Moody(), split, [Linf(0.1)], attacks=[stub("cheat", cheat)], alarms=False, progress=False)
    assert evaluation.robustness[0].accuracy == 1


def test_one_cheated_image_does_not_spoil_the_others_of_its_batch() -> None:
    model = network()
    split = images(model, 20, 0)
    breaks = Breaks(model, lambda pixel: True)

    def half_honest(*arguments: Any) -> Tensor:
        candidates = breaks(*arguments)
        candidates[::2] = torch.nan
        return candidates

    evaluation = evaluate(model, split, [EVERYWHERE], attacks=[stub("half", half_honest)], alarms=False, progress=False)
    assert evaluation.robustness[0].standing.tolist() == [True, False] * 10


def test_an_adversarial_input_is_asked_again_and_does_not_count_unless_it_is_answered_wrongly() -> None:
    model = network()
    unmoved = stub("unmoved", lambda model, inputs, labels, threat, noise: inputs)
    evaluation = evaluate(model, images(model), [Linf(0.1)], attacks=[unmoved], keep=2, alarms=False, progress=False)
    assert evaluation.robustness[0].standing.tolist() == evaluation.clean.tolist()


def test_kept_examples_are_adversarial_inside_the_threat_and_the_first_by_index() -> None:
    model = network()
    split = images(model)
    threats: list[Threat] = [Linf(0.05), Linf(0.2), L2(0.5)]
    evaluation = evaluate(
        model, split, threats, attacks=plan(BOTH, steps=5), batch_size=16, keep=4, alarms=False, progress=False
    )
    for found in evaluation.robustness:
        fallen = (evaluation.clean & ~found.standing).nonzero()[0].tolist()
        assert [example.index for example in found.examples] == fallen[:4]
        assert len(found.examples) > 0
        for example in found.examples:
            assert torch.equal(example.original, split.inputs[example.index])
            assert example.label == int(split.labels[example.index])
            answer = int(model(example.adversarial[None]).argmax())
            assert answer == example.predicted != example.label
            assert found.threat.allows(example.adversarial[None], example.original[None]).all()
    nothing = evaluate(model, split, threats[:1], attacks=plan(BOTH, steps=1), alarms=False, progress=False)
    assert nothing.robustness[0].examples == ()


def test_the_same_seed_gives_the_same_evaluation_and_leaves_the_global_one_alone() -> None:
    model = network()
    split = images(model)
    model.train()
    state = torch.get_rng_state()
    runs = [
        evaluate(
            model,
            split,
            [Linf(0.1)],
            attacks=plan(["pgd-ce"], steps=1),
            keep=60,
            seed=seed,
            alarms=False,
            progress=False,
        )
        for seed in (1, 1, 2)
    ]
    kept = [[example.adversarial for example in run.robustness[0].examples] for run in runs]
    torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    assert any(not torch.equal(*pair) for pair in zip(kept[0], kept[2], strict=False))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_a_model_in_float64_is_evaluated_in_float64() -> None:
    model = network().double()
    split = Split(torch.rand(10, 1, 3, 3), torch.zeros(10, dtype=torch.int64))
    evaluation = evaluate(model, split, [Linf(0.5)], attacks=plan(BOTH, steps=3), keep=1, alarms=False, progress=False)
    assert all(example.adversarial.dtype == torch.float64 for example in evaluation.robustness[0].examples)
    assert evaluation.clean_accuracy == float((model(split.inputs.double()).argmax(1) == 0).double().mean())


def test_everything_found_goes_into_json() -> None:
    model = network()
    evaluation = evaluate(
        model, images(model, 12, 2), [Linf(0.2), L2(0.1)], attacks=plan(BOTH, steps=2), alarms=False, progress=False
    )
    read = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    assert read["clean"]["standing"] == "001111111111"
    assert read["clean"]["accuracy"] == 10 / 12
    assert read["attacks"] == list(evaluation.attacks)
    assert (read["seed"], read["draws"]) == (0, 1)
    assert [(curve["norm"], curve["reach"], curve["closest"]) for curve in read["curves"]] == [
        ("l2", 0.1, False),
        ("linf", 0.2, False),
    ]
    assert [entry["threat"] for entry in read["robustness"]] == ["linf:0.2", "l2:0.1"]
    for entry, found in zip(read["robustness"], evaluation.robustness, strict=True):
        assert [bit == "1" for bit in entry["standing"]] == found.standing.tolist()
        assert (entry["accuracy"], entry["broken_by"]) == (found.accuracy, found.broken_by)
        assert entry["interval"] == list(found.interval)


def test_by_default_the_standard_budget_runs_also_with_two_classes() -> None:
    model = network(classes=2)
    evaluation = evaluate(model, images(model, 4, 0), [Linf(0.01)], alarms=False, progress=False)
    assert evaluation.attacks == tuple(str(attack) for attack in budget("standard", classes=2))


def test_one_image_is_enough() -> None:
    model = network()
    evaluation = evaluate(
        model, images(model, 1, 0), [Linf(1.0)], attacks=plan(BOTH, steps=5), alarms=False, progress=False
    )
    assert evaluation.robustness[0].standing.shape == (1,)


def test_progress_counts_every_image_once_for_each_attack_and_threat(monkeypatch: pytest.MonkeyPatch) -> None:
    totals, steps = [], []

    @contextlib.contextmanager
    def counted(label: str, total: int, done: int, *, shown: bool) -> Any:
        totals.append(total)
        yield steps.append

    monkeypatch.setattr(importlib.import_module("retemper.evaluation.evaluate"), "progress_line", counted)
    model = network()
    threats = [Linf(0.1), Linf(0.1), L2(0.3)]
    evaluate(model, images(model), threats, attacks=plan(["fgsm", "pgd-ce"], steps=2), batch_size=7, alarms=False)
    assert totals == [sum(steps)] == [2 * 2 * 60]


def broken(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    return model


SPLIT = Split(torch.rand(5, 1, 3, 3), torch.tensor([0, 1, 2, 3, 0]))


@pytest.mark.parametrize(
    ("model", "split", "words"),
    [
        (network().half(), SPLIT, "half precision"),
        (network().bfloat16(), SPLIT, "half precision"),
        (broken(network()), SPLIT, "1.weight"),
        (network(classes=3), SPLIT, "3 logits.* 0 to 3"),
        (network(), Split(SPLIT.inputs, SPLIT.labels - 1), "-1 to 2"),
        (network(features=10), SPLIT, r"\(1, 1, 3, 3\)"),
    ],
    ids=["half", "bfloat16", "NaN", "classes", "negative", "shape"],
)
def test_models_that_cannot_be_evaluated_are_refused_by_name(model: nn.Module, split: Split, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        evaluate(model, split, [Linf(0.1)], alarms=False, progress=False)
    assert "Sequential" in str(error.value)


def test_normalised_inputs_are_refused_with_what_to_do() -> None:
    split = Split(4 * torch.rand(5, 1, 3, 3) - 2, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(SettingError, match=r"normalis.*model"):
        evaluate(network(), split, [Linf(0.1)], alarms=False, progress=False)
    evaluate(network(), split, [Linf(0.1, (-2.0, 2.0))], attacks=plan(BOTH, steps=1), alarms=False, progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"threats": []}, "threat"), ({"attacks": []}, "attack"), ({"batch_size": 0}, "batch_size")],
)
def test_nothing_to_do_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        evaluate(network(), SPLIT, **({"threats": [Linf(0.1)], "progress": False} | change))


class Counted(nn.Module):
    """Makes a weight out of another: itself, or with noise; counts how often."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.made: list[int] = []

    def forward(self, weight: Tensor) -> Tensor:
        self.made.append(1)
        return weight + self.noise * torch.randn_like(weight)


def test_weights_made_of_others_are_made_once_unless_they_are_drawn() -> None:
    plain = network()
    split = images(plain, 8, 1)
    attacks = plan(["apgd-ce"], steps=20)
    expected = evaluate(plain, split, [Linf(0.05)], attacks=attacks, alarms=False, progress=False)
    made, drawn = Counted(), Counted(noise=0.5)
    for counted in (made, drawn):
        model = network()
        torch.nn.utils.parametrize.register_parametrization(model[1], "weight", counted)
        counted.made.clear()
        found = evaluate(model, split, [Linf(0.05)], attacks=attacks, alarms=False, progress=False)
        assert (found.draws > 1) == (counted is drawn)
        if counted is made:
            assert found.robustness[0].standing.tolist() == expected.robustness[0].standing.tolist()
    assert len(made.made) < 10  # the copy, and what looks whether answers are random
    assert len(drawn.made) > 20
