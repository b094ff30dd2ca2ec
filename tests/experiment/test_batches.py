"""Parts of a split, the same batches in every epoch, and a last batch of one image."""

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from camloc.backbones.contract import InputSpec
from camloc.data.loading.sample import TrainBatch
from camloc.experiment.batches import batch_limits, check_last_batch
from camloc.experiment.build import build_datamodule, build_predictor, build_trainer, build_training
from camloc.experiment.run_directory import RunDirectory

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]


def limited(**limits: object) -> DictConfig:
    given = config()
    given.trainer.update(limits)
    return given


@pytest.mark.parametrize("limit", [0, 0.0])
@pytest.mark.parametrize("name", ["limit_train_batches", "limit_val_batches", "limit_test_batches"])
def test_nothing_to_train_on_or_to_measure_is_refused(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match=rf"^trainer\.{name}={limit} (trains on|measures) nothing; give a number"):
        batch_limits(limited(**{name: limit}))


@pytest.mark.parametrize("limit", [1, 5, 0.5])
def test_maps_of_a_part_are_not_saved(limit: float) -> None:
    given = limited(limit_test_batches=limit)
    assert batch_limits(given) == {}
    given.save_score_maps = True
    with pytest.raises(ValueError, match="save_score_maps=true keeps the maps of whole splits; leave out"):
        batch_limits(given)


def test_maps_of_the_whole_split_are_saved() -> None:
    given = limited(limit_test_batches=1.0, limit_val_batches=None, limit_train_batches=2)
    given.save_score_maps = True
    assert batch_limits(given) == {}


def test_overfitting_trains_on_the_same_batches_in_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    given = limited(overfit_batches=1, max_epochs=3, num_sanity_val_steps=0)
    given.datamodule.batch_size = 1  # of two images
    datamodule = build_datamodule(given, ("train", "val", "test"))
    module = build_training(given, build_predictor(given, datamodule), datamodule)
    seen: dict[int, list[Tensor]] = {}
    step = module.training_step

    def training_step(batch: TrainBatch) -> Tensor:
        seen.setdefault(module.current_epoch, []).append(batch.images.clone())
        return step(batch)

    monkeypatch.setattr(module, "training_step", training_step)
    trainer = build_trainer(given, RunDirectory(tmp_path), [])
    trainer.fit(module, datamodule)
    assert (trainer.num_training_batches, trainer.num_val_batches) == (1, [1])
    first, *others = (torch.stack(batches) for batches in seen.values())
    assert len(others) == 2
    assert all(torch.equal(other, first) for other in others)


class Net(nn.Module):
    """Batch normalization over maps of the input's size divided by eight."""

    input_spec = InputSpec(8)

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 8, 8), norm)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean(dim=(2, 3))  # type: ignore[no-any-return] # a tensor


def check(
    num_images: int,
    batch_size: int,
    *,
    side: int = 8,
    world_size: int = 1,
    limit: float = 1.0,
    net: Any = None,  # noqa: ANN401 - a network
) -> None:
    data: Any = SimpleNamespace(
        split=lambda _: range(num_images), batch_size=batch_size, eval_transform=SimpleNamespace(size=(side, side))
    )
    trainer: Any = SimpleNamespace(world_size=world_size, limit_train_batches=limit)
    network: Any = net or Net(nn.BatchNorm2d(2))  # half a backbone
    check_last_batch(network, data, trainer)


@pytest.mark.parametrize(
    ("num_images", "batch_size", "world_size", "fix"),
    [(8, 7, 1, 6), (9, 8, 1, 7), (9, 4, 1, 3), (3, 2, 1, 3), (5, 1, 1, 3), (16, 7, 2, 6), (15, 7, 2, 6)],
)
def test_a_last_batch_of_one_is_refused_with_a_size_that_leaves_none(
    num_images: int, batch_size: int, world_size: int, fix: int
) -> None:
    with pytest.raises(ValueError, match=rf"last batch of one .*give datamodule\.batch_size={fix}, or a larger"):
        check(num_images, batch_size, world_size=world_size)
    check(num_images, fix, world_size=world_size)


def test_a_single_training_image_needs_larger_maps() -> None:
    with pytest.raises(ValueError, match=r"one pixel there; give a larger datamodule\.input_size$"):
        check(1, 4)


def test_a_last_batch_of_one_that_can_be_trained_on_is_allowed() -> None:
    check(8, 7, side=16)  # maps of four pixels
    check(8, 7, net=Net(nn.Identity()))
    check(8, 7, limit=1)  # which is not reached
    check(8, 7, limit=0.5)
    check(8, 4)


def test_the_network_is_left_as_it_was() -> None:
    net = Net(nn.BatchNorm2d(2)).eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    check(8, 7, side=16, net=net)
    assert not net.training
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_another_error_of_the_network_is_not_hidden() -> None:
    class Broken(Net):
        def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002 - fails before it looks
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        check(8, 7, net=Broken(nn.Identity()))
