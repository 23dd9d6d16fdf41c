import json
import platform

import torch

from retemper.environment import describe


def test_it_says_what_computed() -> None:
    found = describe()
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == torch.get_num_threads()
    assert found["processor"]
    json.dumps(found)
