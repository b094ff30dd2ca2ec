"""Stand-ins for the published files: torchvision's models with random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

Save = Callable[[nn.Module, nn.Module], Path]


@pytest.fixture
def save_as_published(tmp_path: Path) -> Save:
    """Fill the trunk of a torchvision model built on the meta device, and save the whole model's state dict."""

    def save(model: nn.Module, trunk: nn.Module) -> Path:
        generator = torch.Generator().manual_seed(0)
        trunk.to_empty(device="cpu")
        for entry in trunk.state_dict().values():
            if entry.ndim > 1:
                entry.normal_(std=(2 / entry[0].numel()) ** 0.5, generator=generator)
            elif entry.ndim == 1:
                entry.uniform_(0.5, 1.5, generator=generator)
            else:
                entry.fill_(7)  # num_batches_tracked
        # One number stands for each tensor of the replaced head, so that VGG's does not fill the disk.
        entries: dict[str, Tensor] = {
            key: torch.tensor(0).expand(value.shape) if value.is_meta else value
            for key, value in model.state_dict().items()
        }
        torch.save(entries, tmp_path / "published.pth")
        return tmp_path / "published.pth"

    return save
