import copy
from pathlib import Path

import torch
from torch import nn

from retemper.cli.refutation import keep_refutation
from retemper.data import Split
from retemper.evaluation import evaluate, parse_claim, plan, read_bundle
from retemper.evaluation.verification import verify
from retemper.threats import L2, Linf

CLAIM = parse_claim("0.99@linf:0.06")


def test_what_fell_at_the_claims_own_threat_is_kept_and_rechecks(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 5)).eval()
        inputs = torch.rand(40, 1, 3, 3)
    labels = network(inputs).argmax(1)
    labels[:3] = (labels[:3] + 1) % 5
    split = Split(inputs, labels)
    threats = [L2(0.2), Linf(0.03), Linf(0.06), Linf(0.12)]
    found = evaluate(network, split, threats, attacks=plan(["pgd-margin"], steps=10), alarms=False, progress=False)
    assert len({robustness.accuracy for robustness in found.robustness}) == len(threats)
    data = {"name": "forty", "split": "test", "fingerprint": "0"}
    kept = read_bundle(keep_refutation(tmp_path, CLAIM, found, network, split, data))
    assert kept.indices.tolist() == (~found.at(CLAIM.threat).standing).nonzero()[0].tolist()
    assert (kept.claim, kept.images, kept.classes, kept.data) == (CLAIM, 40, 5, data)
    checked = verify(kept, network, split)
    assert checked.stands
    assert checked.inside == checked.wrong == checked.listed


def test_a_network_in_training_mode_is_kept_as_it_was_attacked(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(9, 5))
        inputs = torch.rand(20, 1, 3, 3)
    labels = network.eval()(inputs).argmax(1)
    network.train()
    before = copy.deepcopy(network)
    split = Split(inputs, labels)
    threats = [CLAIM.threat]
    found = evaluate(network, split, threats, attacks=plan(["pgd-margin"], steps=10), alarms=False, progress=False)
    data = {"name": "twenty", "split": "test", "fingerprint": "0"}
    kept = read_bundle(keep_refutation(tmp_path, CLAIM, found, network, split, data))
    assert network.training
    assert verify(kept, before, split).same_weights
