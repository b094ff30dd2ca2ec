"""What it gains to keep the memory of freed tensors: training steps on the CPU, with and without.

python benchmarks/freed_memory.py [NETWORK...] [--size 160] [--batch 64]

glibc cannot be told twice, so each round is a process of its own; rounds alternate.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.efficientnet_lite0 import efficientnet_lite0_gap
from camloc.backbones.googlenet import googlenet_gap
from camloc.experiment.limits import reuse_freed_memory

NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "alexnet_gap": lambda: alexnet_gap(10),
    "googlenet_gap": lambda: googlenet_gap(10),
    "efficientnet_lite0_gap": lambda: efficientnet_lite0_gap(10, weights=None, output_stride=16),
}
STEPS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round", choices=("given back", "kept"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.round:
        if given.round == "kept":
            reuse_freed_memory()
        one_round(given.networks[0], given.size, given.batch)
        return
    print(f"training at {given.size}x{given.size} in batches of {given.batch}, {torch.get_num_threads()} threads")
    for name in given.networks or NETWORKS:
        rounds: dict[str, list[tuple[float, float]]] = {"given back": [], "kept": []}
        for _ in range(given.rounds):
            for how, measured in rounds.items():
                options = ["--size", str(given.size), "--batch", str(given.batch), "--round", how]
                command = [sys.executable, __file__, name, *options]
                done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)  # noqa: S603 - this file
                rate, peak = map(float, done.stdout.split())
                measured.append((rate, peak))
        before, after = (statistics.median(rate for rate, _ in measured) for measured in rounds.values())
        less, more = (max(peak for _, peak in measured) for measured in rounds.values())
        print(
            f"{name:24}{before:7.1f} images/s, {after:7.1f} with freed memory kept: {after / before:.2f} times; "
            f"peak {less:.2f} GiB, {more:.2f}"
        )


def one_round(name: str, size: int, batch: int) -> None:
    """Train some steps, and print images per second and the peak of the memory, GiB."""
    network = NETWORKS[name]().train()
    if getattr(network, "prefers_channels_last", False):
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    images, target = torch.rand(batch, 3, size, size), torch.randint(0, 10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(network(images), target).backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()

    step()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    passed = time.perf_counter() - started
    print(batch * STEPS / passed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    main()
