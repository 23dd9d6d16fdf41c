"""The attacks of other libraries that we have too, each beside ours, all called in one way.

The libraries are imported where they are called: they live in an environment of their own (`make bench-peers`).
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from retemper.attacks import apgd, deepfool, fab, fmn, pgd, square, transfer
from retemper.noise import Noise
from retemper.threats import Linf, Threat

PEERS = {"torchattacks": "torchattacks", "foolbox": "foolbox", "secml-torch": "secmlt", "adv-lib": "adv_lib.attacks"}


@dataclass(frozen=True)
class Task:
    """What is attacked: inputs that the model answers rightly, and for transfer a surrogate of it."""

    model: nn.Module
    surrogate: nn.Module
    inputs: Tensor
    labels: Tensor


# The task, the threat, a seed, and how many steps or queries; None for the default of whoever made the attack.
Attack = Callable[[Task, Threat, int, int | None], Tensor]


@dataclass(frozen=True)
class Duel:
    """An attack that both sides have.

    Attributes:
        peer: a key of `PEERS`.
        attack: its name.
        norm: of the threat.
        ours: our attack.
        theirs: the peer's.
        calls: gradient steps of each in the equal comparison; None where the defaults are equal already.
        nearest: whether the distance is minimised, rather than the radius given.
        defaults: whether the peer has any.
    """

    peer: str
    attack: str
    norm: str
    ours: Attack
    theirs: Attack
    calls: int | None = None
    nearest: bool = False
    defaults: bool = True


def absent() -> dict[str, str]:
    """The peers that cannot be imported, and why."""
    found = {}
    for peer, module in PEERS.items():
        try:
            if peer == "adv-lib":
                _stand_in_for_torchvision()
            importlib.import_module(module)
        except (ImportError, RuntimeError, OSError) as error:
            found[peer] = f"{type(error).__name__}: {error}"
    return found


def _stand_in_for_torchvision() -> None:
    """Let adv-lib be imported where torchvision is not built for this torch: no attack compared here uses it."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        module: Any = ModuleType("torchvision")
        module.models = None
        sys.modules["torchvision"] = module


def duels() -> Iterator[Duel]:
    """Every attack of every peer that has a counterpart here, those that take longest last.

    The targeted APGD of adv-lib is AutoAttack's, which the benchmark `attacks` measures.
    """
    for norm in ("linf", "l2"):
        yield Duel("torchattacks", "PGD", norm, _ours(pgd), _torchattacks({"linf": "PGD", "l2": "PGDL2"}[norm]), 40)
        yield Duel("foolbox", "PGD", norm, _ours(pgd), _foolbox("ProjectedGradientDescentAttack"), 40)
        yield Duel("secml-torch", "PGD", norm, _ours(pgd), _secml_pgd, 40, defaults=False)
        for loss in ("ce", "dlr"):
            name, ours = f"APGD-{loss.upper()}", _ours(apgd, loss=loss)
            yield Duel("torchattacks", name, norm, ours, _torchattacks("APGD", loss=loss), 50)
            yield Duel("adv-lib", name, norm, ours, _adv_lib("apgd", "n_iter", loss_function=loss))
        yield Duel("foolbox", "FMN", norm, _ours(fmn), _foolbox("FMNAttack"), nearest=True)
        yield Duel("secml-torch", "FMN", norm, _ours(fmn), _secml_fmn, 50, nearest=True, defaults=False)
        yield Duel("adv-lib", "FMN", norm, _ours(fmn), _adv_lib("fmn", "steps"), 50, nearest=True)
        yield Duel("foolbox", "DeepFool", norm, _ours(deepfool), _foolbox("DeepFoolAttack"), nearest=True)
        yield Duel("adv-lib", "DeepFool", norm, _ours(deepfool), _adv_lib("df", "steps"), 20, nearest=True)
    yield Duel("adv-lib", "PGD", "linf", _ours(pgd), _adv_lib_pgd)
    yield Duel("torchattacks", "FGSM", "linf", _ours_fgsm, _torchattacks("FGSM"))
    yield Duel("foolbox", "FGSM", "linf", _ours_fgsm, _foolbox("FastGradientAttack"))
    yield Duel("torchattacks", "MI-FGSM, transfer", "linf", _ours_transfer, _torchattacks("MIFGSM", transfer=True), 20)
    momentum = _foolbox("MomentumIterativeFastGradientMethod", transfer=True)
    yield Duel("foolbox", "MI-FGSM, transfer", "linf", _ours_transfer, momentum, 20)
    yield Duel("torchattacks", "DeepFool", "l2", _ours(deepfool), _torchattacks("DeepFool"), nearest=True)
    for norm in ("linf", "l2"):
        yield Duel("torchattacks", "FAB", norm, _ours(fab, within=True), _torchattacks("FAB"), 10)
        yield Duel("adv-lib", "FAB", norm, _ours(fab), _adv_lib("fab", "n_iter"), nearest=True)
        yield Duel("torchattacks", "Square", norm, _ours(square, "queries"), _torchattacks("Square", "n_queries"))


def _budget(name: str, calls: int | None) -> dict[str, Any]:
    return {} if calls is None else {name: calls}


def _ours(attack: Callable[..., Tensor], number: str = "steps", **settings: Any) -> Attack:
    def run(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
        noise = Noise.for_batch(task.inputs, seed)
        return attack(task.model, task.inputs, task.labels, threat, noise, **settings, **_budget(number, calls))

    return run


def _ours_fgsm(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
    # The default step of one, 2.5 radii cut to the radius, is the whole radius.
    return pgd(task.model, task.inputs, task.labels, threat, steps=1, random_start=False)


def _ours_transfer(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
    budget = _budget("steps", calls)
    return transfer(task.model, task.inputs, task.labels, threat, surrogate=task.surrogate, **budget)


def _torchattacks(name: str, number: str = "steps", *, transfer: bool = False, **settings: Any) -> Attack:
    def run(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
        library = importlib.import_module("torchattacks")
        chosen = {**settings, **_budget(number, calls)}
        if name in ("APGD", "FAB", "Square"):
            chosen |= {"norm": {"linf": "Linf", "l2": "L2"}[threat.norm], "seed": seed}
        if name != "DeepFool":
            chosen["eps"] = threat.radius
        return getattr(library, name)(task.surrogate if transfer else task.model, **chosen)(task.inputs, task.labels)

    return run


def _foolbox(name: str, *, transfer: bool = False) -> Attack:
    def run(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
        library = importlib.import_module("foolbox")
        model = library.PyTorchModel(task.surrogate if transfer else task.model, bounds=threat.bounds)
        prefix = "LInf" if name == "FMNAttack" and threat.norm == "linf" else threat.norm.capitalize()
        attack = getattr(library.attacks, prefix + name)(**_budget("steps", calls))
        criterion = library.criteria.Misclassification(task.labels)
        if isinstance(attack, library.attacks.base.MinimizationAttack):
            return attack.run(model, task.inputs, criterion)
        return attack.run(model, task.inputs, criterion, epsilon=threat.radius)

    return run


def _secml_pgd(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
    # It has no default number nor length of steps: these are ours.
    length = 2.5 * threat.radius / (calls or 1)
    return _secml("pgd", "PGD", task, threat, epsilon=threat.radius, num_steps=calls, step_size=length)


def _secml_fmn(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
    # It has no default number nor length of steps: one is the paper's.
    return _secml("fmn", "FMN", task, threat, num_steps=calls, step_size=1.0)


def _secml(module: str, name: str, task: Task, threat: Threat, **settings: Any) -> Tensor:
    creator = getattr(importlib.import_module(f"secmlt.adv.evasion.{module}"), name)
    attack = creator(perturbation_model=threat.norm, backend="native", **settings)
    data = torch.utils.data.TensorDataset(task.inputs, task.labels)
    found = attack(task.model, torch.utils.data.DataLoader(data, batch_size=len(data)))
    return torch.cat([points for points, _ in found])


def _adv_lib(name: str, number: str, **settings: Any) -> Attack:
    def run(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
        attack = getattr(importlib.import_module("adv_lib.attacks"), name)
        chosen = {**settings, **_budget(number, calls), "norm": float("inf") if isinstance(threat, Linf) else 2}
        if name.startswith("apgd"):
            chosen["eps"] = threat.radius
        # FAB writes into what it is given.
        return attack(task.model, task.inputs.clone(), task.labels, **chosen)

    return run


def _adv_lib_pgd(task: Task, threat: Threat, seed: int, calls: int | None) -> Tensor:
    attack = importlib.import_module("adv_lib.attacks").pgd_linf
    return attack(task.model, task.inputs, task.labels, threat.radius, **_budget("steps", calls))
