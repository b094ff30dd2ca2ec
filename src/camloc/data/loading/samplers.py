"""Which rank sees which image, and how often an image counts."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One training draw: which image, and the seed of its augmentation."""

    sample: int
    seed: int


class TrainSampler(Sampler[Draw]):
    """Shuffle every epoch; order and augmentation depend on seed and epoch alone.

    Each draw carries the seed of its augmentation, so that an image is augmented the same way for any number of
    workers. Ranks take turns in one permutation, which is padded with its own beginning so that all get equally many.

    Args:
        num_samples: N, at least 1.
        seed: Of the run.
        world_size: Number of processes.
        rank: This process, 0-based.
        reshuffle: Whether every epoch has an order of its own; false repeats the first one, augmentation included.

    Example:
        >>> sampler = TrainSampler(3, seed=0)
        >>> sorted(draw.sample for draw in sampler)
        [0, 1, 2]
    """

    def __init__(
        self, num_samples: int, seed: int, world_size: int = 1, rank: int = 0, *, reshuffle: bool = True
    ) -> None:
        self.num_samples, self.seed, self.world_size, self.rank = num_samples, seed, world_size, rank
        self.reshuffle = reshuffle
        self.epoch = 0
        self._skip = 0

    def resume(self, epoch: int, num_drawn: int) -> None:
        """Start in the middle of an epoch.

        Args:
            epoch: The epoch to start in.
            num_drawn: How many of its draws this rank has made already; they are skipped once, in the next iteration.
        """
        self.epoch, self._skip = epoch, num_drawn

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many draws this rank makes in an epoch."""
        return (self.num_samples + self.world_size - 1) // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's draws of the current epoch."""
        # Seeding with a mix of both keeps epoch 1 of seed 0 apart from epoch 0 of seed 1.
        epoch = self.epoch if self.reshuffle else 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.num_samples, generator=generator)
        seeds = torch.randint(2**62, (self.num_samples,), generator=generator)
        skip, self._skip = self._skip, 0
        for position in list(EvalSampler(self.num_samples, self.world_size, self.rank))[skip:]:
            turn = position % self.num_samples
            yield Draw(int(order[turn]), int(seeds[turn]))


class EvalSampler(Sampler[int]):
    """Deal positions to ranks in turn; positions of N or more are padding and must not count.

    Every rank gets the same number of positions, at least one, so that collective calls match and nothing hangs. The
    image at a position is ``position % N``; a position of N or more only fills up the last round.

    Args:
        num_samples: N, at least 1.
        world_size: Number of processes.
        rank: This process, 0-based.

    Example:
        >>> [list(EvalSampler(4, world_size=3, rank=rank)) for rank in range(3)]
        [[0, 3], [1, 4], [2, 5]]
    """

    def __init__(self, num_samples: int, world_size: int = 1, rank: int = 0) -> None:
        self.num_samples, self.world_size, self.rank = num_samples, world_size, rank

    def __len__(self) -> int:
        """Return how many positions this rank gets."""
        return (self.num_samples + self.world_size - 1) // self.world_size

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's positions in rising order."""
        return iter(range(self.rank, len(self) * self.world_size, self.world_size))
