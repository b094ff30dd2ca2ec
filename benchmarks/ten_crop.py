"""What ten crops cost: images per second of each network of the paper, against one view of the same images.

CAMs where the network has class weights, the image's gradient elsewhere, for the true class alone; ImageNet's 1000
classes, random weights, bf16 on a GPU. The images lie in the device's memory, and no boxes are made.

    python benchmarks/ten_crop.py [NETWORK ...]
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.saliency import saliency
from camloc.attribution.ten_crop import TenCrop
from camloc.backbones.alexnet import alexnet, alexnet_gap, alexnet_gap_one_conv
from camloc.backbones.contract import Backbone
from camloc.backbones.googlenet import googlenet, googlenet_gap, googlenet_gmp
from camloc.backbones.nin import nin
from camloc.backbones.released_alexnet import released_alexnet_gap
from camloc.backbones.released_googlenet import released_googlenet_gap
from camloc.backbones.released_vgg import released_vgg_gap
from camloc.backbones.vgg import vgg16, vgg_gap
from camloc.records import Pairs

NETWORKS: dict[str, Callable[..., Backbone]] = {
    "alexnet": alexnet,
    "alexnet_gap": alexnet_gap,
    "alexnet_gap_one_conv": alexnet_gap_one_conv,
    "googlenet": googlenet,
    "googlenet_gap": googlenet_gap,
    "googlenet_gmp": googlenet_gmp,
    "nin": nin,
    "vgg16": vgg16,
    "vgg_gap": vgg_gap,
    "released_alexnet_gap": released_alexnet_gap,
    "released_googlenet_gap": released_googlenet_gap,
    "released_vgg_gap": released_vgg_gap,
}
ROUNDS = 4
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZE = 64 if DEVICE == "cuda" else 2


def seconds(attribution: Attribution, backbone: Backbone, size: int) -> float:
    """Time a batch of square images, the median of several."""
    images = torch.randn(BATCH_SIZE, 3, size, size, device=DEVICE)
    classes = torch.zeros(BATCH_SIZE, dtype=torch.int64, device=DEVICE)
    pairs = Pairs(torch.arange(BATCH_SIZE, device=DEVICE), classes)
    times = []
    with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
        for _ in range(ROUNDS):
            started = time.perf_counter()
            attribution(backbone, images, lambda _: pairs).cams.sum().item()  # waits for the device
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])  # the first warms up


def main(networks: list[str]) -> None:
    """Measure and print."""
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, torch {torch.__version__}, batches of {BATCH_SIZE}; images per second", flush=True)
    for name in networks or NETWORKS:
        if DEVICE == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        backbone = NETWORKS[name](num_classes=1000, weights=None)
        cast(nn.Module, backbone).to(DEVICE).eval()
        method = saliency if backbone.class_weights is None else cam
        size = backbone.input_spec.size
        views = TenCrop(method, crop_share=size / 256)
        one, ten = seconds(method, backbone, size), seconds(views, backbone, 256)
        peak = f"   peak {torch.cuda.max_memory_allocated() / 2**30:4.1f} GiB" if DEVICE == "cuda" else ""
        print(
            f"{name:24}{method.__name__:10}one view {BATCH_SIZE / one:8.1f}   "
            f"ten crops {BATCH_SIZE / ten:7.1f}   {ten / one:5.2f}x{peak}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
