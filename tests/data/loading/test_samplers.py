from hypothesis import given
from hypothesis import strategies as st

from camloc.data.loading.samplers import EvalSampler, TrainSampler

sizes = st.integers(1, 40)
worlds = st.integers(1, 9)


@given(sizes, worlds)
def test_every_image_is_dealt_once_and_the_rest_is_padding(num_samples: int, world_size: int) -> None:
    dealt = [list(EvalSampler(num_samples, world_size, rank)) for rank in range(world_size)]
    assert len({len(positions) for positions in dealt}) == 1
    assert len(dealt[0]) == len(EvalSampler(num_samples, world_size)) >= 1
    everything = sorted(position for positions in dealt for position in positions)
    assert everything == list(range(len(everything)))
    assert [position for position in everything if position < num_samples] == list(range(num_samples))
    assert len(everything) - num_samples < world_size


@given(sizes, worlds, st.integers(0, 3), st.integers(0, 3))
def test_training_covers_every_image_with_equally_many_draws_per_rank(
    num_samples: int, world_size: int, seed: int, epoch: int
) -> None:
    draws = []
    for rank in range(world_size):
        sampler = TrainSampler(num_samples, seed, world_size, rank)
        sampler.set_epoch(epoch)
        draws.append(list(sampler))
        assert len(draws[-1]) == len(sampler) == len(draws[0])
    assert {draw.sample for part in draws for draw in part} == set(range(num_samples))


def test_order_and_augmentation_follow_from_seed_and_epoch() -> None:
    first, again, other_seed = TrainSampler(50, seed=1), TrainSampler(50, seed=1), TrainSampler(50, seed=2)
    assert list(first) == list(again)
    assert list(first) == list(first)
    assert list(first) != list(other_seed)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_ranks_together_make_the_single_process_epoch() -> None:
    whole = list(TrainSampler(8, seed=0))
    halves = [list(TrainSampler(8, seed=0, world_size=2, rank=rank)) for rank in range(2)]
    assert [draw for pair in zip(*halves, strict=True) for draw in pair] == whole


def test_an_epoch_that_is_repeated_has_the_same_images_and_augmentation() -> None:
    sampler = TrainSampler(50, seed=1, reshuffle=False)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first == list(TrainSampler(50, seed=1))
