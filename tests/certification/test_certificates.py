import json
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from retemper.attacks import apgd, fmn, pgd
from retemper.certification import Certificates, certify
from retemper.certification.bound import in_float64
from retemper.data import Data, Split, load
from retemper.errors import ModelError
from retemper.models import create, predict
from retemper.noise import Noise
from retemper.objectives import CrossEntropy
from retemper.threats import L2
from retemper.training import fresh, retrain


def linear(weights: list[list[float]], biases: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights)).double()
    layer.weight.data, layer.bias.data = torch.tensor(weights).double(), torch.tensor(biases).double()
    return layer


def split(inputs: list[list[float]], labels: list[int]) -> Split:
    return Split(torch.tensor(inputs, dtype=torch.float64), torch.tensor(labels))


def test_a_linear_score_is_certified_up_to_the_plane() -> None:
    model = linear([[3.0, 4.0]], [-1.0])
    found = certify(model, split([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], [1, 0, 0]))
    np.testing.assert_allclose(found.radii, [6 / 5, 1 / 5, 0], rtol=1e-8)


def test_two_logits_are_their_difference() -> None:
    one = certify(linear([[3.0, 4.0]], [-1.0]), split([[1.0, 1.0]], [1]))
    two = certify(linear([[1.0, 1.0], [4.0, 5.0]], [3.0, 2.0]), split([[1.0, 1.0]], [1]))
    np.testing.assert_allclose(one.radii, two.radii, rtol=1e-8)


def test_several_classes_are_certified_up_to_the_nearest_plane_after_the_features() -> None:
    torch.manual_seed(0)
    features = linear([[0.0, 2.0], [-2.0, 0.0]], [0.3, 0.1])  # a rotation, times two
    last = linear(torch.randn(4, 2).tolist(), torch.randn(4).tolist())
    weights = last.weight.detach()
    inputs = torch.rand(50, 2, dtype=torch.float64)
    labels = torch.randint(4, (50,))
    found = certify(nn.Sequential(features, last), Split(inputs, labels), batch_size=7)
    assert found.lipschitz == pytest.approx(2)
    for image, label, radius in zip(inputs, labels.tolist(), found.radii, strict=True):
        scores = last(features(image)).tolist()
        planes = [
            (scores[label] - scores[other]) / (2 * float((weights[label] - weights[other]).norm()))
            for other in range(4)
            if other != label
        ]
        assert radius == pytest.approx(max(0, min(planes)), rel=1e-7, abs=1e-11)
    assert 0 < found.accuracy(0) < 1


def test_without_a_linear_layer_at_the_end_scores_are_features() -> None:
    body = linear([[2.0, 0.0], [0.0, 2.0]], [0.0, 0.0])
    found = certify(nn.Sequential(body, nn.Tanh()), split([[0.0, 0.4]], [1]))
    assert found.radii[0] == pytest.approx(np.tanh(0.8) / (2 * 2**0.5))


def test_normalisation_counts() -> None:
    from retemper.models import Normalise

    model = nn.Sequential(Normalise([0.5], [0.25]).double(), linear([[1.0, 0.0]], [0.0]))
    assert certify(model, split([[0.75, 0.0]], [1])).radii[0] == pytest.approx(0.25)


def test_equal_scores_are_not_certified_and_constant_answers_for_ever() -> None:
    model = linear([[1.0], [1.0]], [0.0, 1.0])
    found = certify(model, split([[0.5], [0.5]], [0, 1]))
    assert found.radii.tolist() == [0, np.inf]
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["radii"] == [0, None]
    assert certify(linear([[1.0], [1.0]], [1.0, 1.0]), split([[0.5]], [0])).radii.tolist() == [0]


def test_what_rounding_may_undo_is_not_certified() -> None:
    model = linear([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    nearly = split([[1.0, 1.0 - 1e-5]], [0])
    assert certify(model, nearly).radii[0] == pytest.approx(1e-5 / 2**0.5)
    assert certify(model.float(), nearly).radii[0] == 0


def test_a_certificate_holds_at_its_radius_and_not_beyond() -> None:
    found = Certificates(np.array([0.0, 0.5, 1.0, np.inf]), 1.0)
    assert found.holds(0.5).tolist() == [False, True, True, True]
    assert [found.accuracy(radius) for radius in (0, 0.5, 0.500001, 1, 9)] == [0.75, 0.75, 0.5, 0.5, 0.25]


class Cosine(nn.Linear):
    """A head on the sphere, whose answer no length of features changes: steep near the origin."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 10 * F.linear(F.normalize(inputs), F.normalize(self.weight))


def stretched(_layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (10 * inputs[0] - 9.4,)


def test_a_last_layer_that_does_not_run_as_linear_is_refused() -> None:
    cosine = Cosine(2, 2, bias=False).double()
    cosine.weight.data = torch.tensor([[1.0, 0.0], [0.0, 100.0]]).double()
    with pytest.raises(ModelError, match="No Lipschitz constant is known for Cosine"):
        certify(nn.Sequential(cosine), split([[0.5, 0.51]], [1]))
    hooked = linear([[1.0]], [-0.5])
    assert certify(hooked, split([[1.0]], [1])).radii[0] == pytest.approx(0.5)
    hooked.register_forward_pre_hook(stretched)
    with pytest.raises(ModelError, match="without hooks"):
        certify(nn.Sequential(nn.Identity(), hooked), split([[1.0]], [1]))


def test_networks_made_smooth_are_certified() -> None:
    torch.manual_seed(0)
    model = create("mlp", shape=(1, 8, 8), classes=3, activation="silu").eval()
    inputs = torch.rand(8, 1, 8, 8)
    labels = model(inputs).argmax(1)
    assert (certify(model, Split(inputs, labels)).radii > 0).all()


def test_labels_without_a_logit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"2 classes.*reach from 0 to 2"):
        certify(linear([[1.0], [2.0]], [0.0, 0.0]), split([[0.5], [0.5]], [0, 2]))


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        certify(linear([[1.0], [2.0]], [0.0, np.nan]), split([[0.5]], [0]))


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


def trained(name: str, data: Data) -> nn.Module:
    model = fresh(name, data)
    retrain(model, data, CrossEntropy(), epochs=3, batch_size=64, learning_rate=0.005, progress=False)
    return model


@pytest.fixture(scope="module")
def network(digits: Data) -> nn.Module:
    return trained("lipschitz-cnn", digits)


ATTACKS = [
    partial(pgd, steps=20, loss="margin"),
    partial(pgd, steps=20, loss="ce"),
    partial(apgd, steps=20, loss="ce"),
    partial(apgd, steps=20, loss="dlr"),
    partial(fmn, steps=30),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.func.__name__}-{attack.keywords.get('loss')}")
def test_no_attack_succeeds_inside_a_certificate(attack: partial[Tensor], network: nn.Module, digits: Data) -> None:
    images = digits.test.take(12)
    radii = certify(network, images).radii
    inputs, labels = images.batch(slice(None))
    assert (radii > 0.1).mean() > 0.5
    noise = Noise.keyed(torch.arange(1))
    fallen_outside = 0
    for place, radius in enumerate(radii):
        if radius == 0:
            continue
        for share in (0.999, 8.0):
            threat = L2(share * float(radius))
            one, label = inputs[place : place + 1], labels[place : place + 1]
            with parametrize.cached():  # else the weights are computed again at every step
                moved = attack(network, one, label, threat, noise)
            inside = bool((threat.distance(moved, one) <= threat.radius).all())
            fallen = inside and bool((network(moved).argmax(1) != label).all())
            assert not (fallen and share < 1)
            fallen_outside += fallen
    assert fallen_outside > 3  # so that the attacks could have succeeded


def test_a_weight_tampered_after_training_lowers_the_certificates(network: nn.Module, digits: Data) -> None:
    images = digits.test.take(50)
    tampered = in_float64(network)
    tampered.conv2a.weight[0, 0] += 3
    assert certify(tampered, images).accuracy(0.1) < certify(network, images).accuracy(0.1) / 2


def test_an_ordinary_network_is_certified_loosely(digits: Data) -> None:
    model = trained("small-cnn", digits)
    found = certify(model, digits.test)
    outputs, labels = predict(model, digits.test.batches(100))
    right = (outputs.argmax(1) == labels).numpy()
    assert (found.radii[~right] == 0).all()
    assert (found.radii[right] > 0).all()
    assert np.median(found.radii) < 0.2
