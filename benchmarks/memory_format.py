"""What channels_last gains: a training step and an evaluation of each network, in both memory formats.

python benchmarks/memory_format.py [NETWORK...] [--size 128] [--batch 32] [--device cuda --bf16]

Rounds alternate between the formats. On the CPU the processor's seconds are counted, all threads together, so that a
busy machine changes little. Above 1 channels_last is faster.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.nn.functional import cross_entropy

from camloc.attribution.cam import cam
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.efficientnet_lite0 import efficientnet_lite0_gap
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.inception import inception_v3_gap
from camloc.backbones.resnet import resnet50_gap
from camloc.backbones.vgg import vgg_gap
from camloc.experiment.limits import reuse_freed_memory
from camloc.predictors.network import NetworkPredictor
from camloc.records import Pairs

NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "alexnet_gap": lambda: alexnet_gap(10),
    "alexnet_gap batch_norm": lambda: alexnet_gap(10, batch_norm=True),
    "vgg_gap": lambda: vgg_gap(10),
    "googlenet_gap": lambda: googlenet_gap(10),
    "resnet50_gap": lambda: resnet50_gap(10),
    "inception_v3_gap": lambda: inception_v3_gap(10),
    "efficientnet_lite0_gap": lambda: efficientnet_lite0_gap(10, weights=None, output_stride=16),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    reuse_freed_memory()  # as commands do
    where = torch.cuda.get_device_name() if given.device == "cuda" else f"{torch.get_num_threads()} threads"
    precision = "bf16" if given.bf16 else "float32"
    print(f"{given.size}x{given.size}, batches of {given.batch}, {given.device} ({where}), {precision}")
    images = torch.randint(0, 256, (given.batch, 3, given.size, given.size), dtype=torch.uint8, device=given.device)
    for name in given.networks or NETWORKS:
        predictors = [
            NetworkPredictor(NETWORKS[name](), cam, channels_last=last).to(given.device)  # type: ignore[arg-type] # all are
            for last in (False, True)
        ]
        for task in (train, evaluate):
            plain, last = medians(task, predictors, images, given.rounds, bf16=given.bf16)
            print(
                f"{name:24}{task.__name__:10}{plain * 1000:8.1f} ms  channels_last {last * 1000:8.1f} ms"
                f"   {plain / last:5.2f}x"
            )


def train(predictor: NetworkPredictor, images: torch.Tensor, *, bf16: bool) -> None:
    """Forward, loss and backward."""
    predictor.train()
    predictor.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else nullcontext():
        target = torch.arange(len(images), device=images.device) % 10
        loss = cross_entropy(predictor(images), target)
    loss.backward()  # type: ignore[no-untyped-call] # torch's


@torch.inference_mode()
def evaluate(predictor: NetworkPredictor, images: torch.Tensor, *, bf16: bool) -> None:
    """Logits and a map of each image."""
    predictor.eval()
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else nullcontext():
        cam(predictor.backbone, predictor.normalize(images), lambda logits: Pairs.most_likely(logits, 1))


def medians(
    task: Callable[..., None], predictors: list[NetworkPredictor], images: torch.Tensor, rounds: int, *, bf16: bool
) -> list[float]:
    """Return the seconds of each predictor, the median of rounds that alternate."""
    clock = time.perf_counter if images.is_cuda else time.process_time
    taken: list[list[float]] = [[] for _ in predictors]
    for number in range(rounds + 1):
        for times, predictor in zip(taken, predictors, strict=True):
            synchronize(images)
            started = clock()
            task(predictor, images, bf16=bf16)
            synchronize(images)
            if number > 0:  # the first chooses kernels
                times.append(clock() - started)
    return [statistics.median(times) for times in taken]


def synchronize(images: torch.Tensor) -> None:
    """Wait for the device."""
    if images.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
