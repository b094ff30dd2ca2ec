"""What the configuration asks of the device, checked before it starts."""

import torch
from omegaconf import DictConfig, OmegaConf

PRECISIONS = ("32-true", "32", "bf16-mixed", "bf16", "16-mixed", "16")
"""Values of ``trainer.precision`` that keep weights in float32; those without a suffix are Lightning's older names."""


def check_devices(accelerator: str, devices: int | str | list[int]) -> None:
    """Refuse more GPUs than there are, instead of starting that many processes on the CPU.

    Raises:
        ValueError: If there are fewer GPUs than asked for.
    """
    if isinstance(devices, str):
        wanted = int(devices) if devices.isdigit() else 0
    else:
        wanted = devices if isinstance(devices, int) else len(devices)
    needs_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and wanted > 1)
    available = torch.cuda.device_count()
    if needs_gpu and wanted > available:
        raise ValueError(
            f"trainer.devices={devices} asks for {wanted} GPUs and this machine has {available}; "
            "set trainer.devices to that number, or trainer.accelerator=cpu for that many CPU processes"
        )


def check_clipping(config: DictConfig) -> None:
    """Refuse to clip gradients that a fused optimizer unscales itself; Lightning would refuse at the first step.

    Raises:
        ValueError: If gradients are to be clipped in mixed precision before a fused step.
    """
    clip, precision = config.trainer.gradient_clip_val, config.trainer.precision
    if clip and str(precision).endswith("-mixed") and OmegaConf.select(config, "optimizer.fused"):
        raise ValueError(
            f"trainer.gradient_clip_val={clip} cannot be combined with optimizer.fused=true in "
            f"trainer.precision={precision}; set optimizer.fused=false"
        )


def check_precision(precision: str | int | None) -> None:
    """Refuse to hold weights in another type than float32, which no network here is fed in.

    Raises:
        ValueError: If ``precision`` asks for it.

    Example:
        >>> check_precision("bf16-mixed")
    """
    if precision is not None and str(precision) not in PRECISIONS:
        raise ValueError(
            f"trainer.precision={precision} is not supported: weights stay in float32; use "
            "trainer.precision=bf16-mixed for speed, 16-mixed on older GPUs, or 32-true"
        )


def compile_backbone(backbone: torch.nn.Module, accelerator: str) -> None:
    """Compile a network's ``forward`` in place, so that its weights keep their names.

    Training calls it; score maps are read between the network's two halves, which stay as they are.

    Raises:
        ValueError: If nothing can be compiled here.
    """
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    try:
        torch.compile(torch.nn.functional.relu)(torch.zeros(1, device=device))
    except RuntimeError as error:
        raise ValueError(
            "compile=true needs a C++ compiler, and triton on GPUs; install them, or set compile=false: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    backbone.compile()
