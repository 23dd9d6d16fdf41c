import torch

from retemper.models import create
from retemper.models.parametrised import is_parametrised, materialised


def test_materialised_weights_give_the_same_logits_to_the_bit_and_the_model_keeps_its_own() -> None:
    torch.manual_seed(0)
    model = create("lipschitz-cnn", shape=(1, 8, 8), classes=3).train()
    copied = materialised(model)
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(copied(images), model(images))
    assert is_parametrised(model)
    assert not is_parametrised(copied)
    assert model.training
    assert not copied.training
