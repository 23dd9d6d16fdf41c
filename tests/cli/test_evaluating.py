import inspect

import pytest

from retemper.cli.evaluate import evaluate
from retemper.cli.evaluating import threats
from retemper.evaluation import parse_claim
from retemper.threats import L2, Linf, Threat

CLAIM = parse_claim("0.4@linf:0.25")
DEFAULT = inspect.signature(evaluate).parameters["threat"].default


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["l2:0.5,1", "linf:0.3"], [L2(0.5), L2(1.0), Linf(0.3), Linf(0.25)]),
        (["linf:0.3,0.25", "l2:1"], [Linf(0.3), Linf(0.25), L2(1.0)]),
        (["linf:0.1"], [Linf(0.1), Linf(0.25)]),
        (DEFAULT, [Linf(0.25)]),
    ],
    ids=["beside others", "among others", "beside the usual one", "alone"],
)
def test_a_claims_own_threat_is_attacked_and_alone_where_no_other_was_asked_for(
    texts: list[str], expected: list[Threat]
) -> None:
    assert threats(texts, CLAIM) == tuple(expected)


def test_without_a_claim_every_threat_is_attacked_once() -> None:
    assert threats(DEFAULT, None) == (Linf(0.1),)
    assert threats(["linf:0.1,0.2", "linf:0.2"], None) == (Linf(0.1), Linf(0.2))
