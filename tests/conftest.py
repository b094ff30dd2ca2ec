"""One thread for torch: more only wait for each other on the small tensors of tests."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(1)
