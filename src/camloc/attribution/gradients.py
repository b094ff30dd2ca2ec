"""Gradients for attribution methods, wherever they are called from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def with_gradients(device: torch.device) -> Iterator[None]:
    """Record gradients in full precision, also where the caller switched them off.

    Lightning evaluates in inference mode. A tensor made there cannot be differentiated: clone it in here. The same
    goes for the half-precision weights that autocast keeps from an earlier pass, hence autocast is off.

    Example:
        >>> with torch.inference_mode():
        ...     images = torch.ones(2)
        ...     with with_gradients(images.device):
        ...         leaf = images.clone().requires_grad_()
        ...         torch.autograd.grad((leaf**2).sum(), leaf)
        (tensor([2., 2.]),)
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield
