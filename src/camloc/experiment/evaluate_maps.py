"""Evaluate ready-made score maps of any method: no network, no images."""

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import LightningModule
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.samplers import EvalSampler
from camloc.experiment.build import build_trainer
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.uncertainty import protocol_intervals
from camloc.metrics.functional.max_box_acc import wsolevaluation_boxes
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP
from camloc.predictors.map_files import MapBatch, MapSample, ReadyMadeMaps, ScoreMapFiles, collate_maps
from camloc.report.table import results_table

MAP_SIZE = (224, 224)
"""``(height, width)`` of the maps and masks that wsolevaluation compares."""


class MapEvaluator(LightningModule):
    """Stream a split's maps through a metric; every process takes its turn.

    Args:
        maps: The split's maps.
        metric: ``MaxBoxAcc`` where the split has boxes, ``PxAP`` where it has masks.
        batch_size: Maps per process and step.
        num_workers: Processes that read maps.
    """

    def __init__(self, maps: ReadyMadeMaps, metric: MaxBoxAcc | PxAP, batch_size: int, num_workers: int) -> None:
        super().__init__()
        self.maps, self.metric = maps, metric
        self.batch_size, self.num_workers = batch_size, num_workers
        self.results: dict[str, Tensor] = {}

    def test_dataloader(self) -> DataLoader[MapSample]:
        """Return this process's share of the maps."""
        sampler = EvalSampler(len(self.maps.metadata), self.trainer.world_size, self.trainer.global_rank)
        return DataLoader(
            self.maps, self.batch_size, sampler=sampler, num_workers=self.num_workers, collate_fn=collate_maps
        )

    def test_step(self, batch: MapBatch) -> None:
        """Count a batch."""
        metadata = self.maps.metadata
        for score_map, index in zip(batch.score_maps, batch.image_indices, strict=True):
            if score_map.shape != MAP_SIZE:
                raise ValueError(
                    f"{self.maps.maps.path(metadata.image_id(index))} is {tuple(score_map.shape)}; "
                    f"wsolevaluation compares maps of {MAP_SIZE}"
                )
        score_maps = torch.stack([score_map.double() for score_map in batch.score_maps])
        if isinstance(self.metric, PxAP):
            masks, ignore = zip(*(metadata.masks(index, MAP_SIZE) for index in batch.image_indices), strict=True)
            self.metric.update(score_maps, torch.stack(masks), torch.stack(ignore), batch.is_padding)
        else:
            boxes = [
                wsolevaluation_boxes(metadata.inclusive_boxes(index), metadata.image_size(index), MAP_SIZE)
                for index in batch.image_indices
            ]
            self.metric.update(score_maps, boxes, batch.is_padding)

    def image_counts(self) -> dict[str, Tensor]:
        """Return what each image of the last batch added."""
        return {"pxap" if isinstance(self.metric, PxAP) else "max_box_acc": self.metric.image_counts}

    def on_test_epoch_end(self) -> None:
        """Keep the numbers; the counts of all processes are in them."""
        self.results = self.metric.compute()


def evaluate_maps(config: DictConfig, run: RunDirectory) -> None:
    """Evaluate ``score_maps=DIR``, one ``<image_id>.npy`` per image, against a split's boxes or masks.

    Raises:
        TypeError: If the data module is not one for ready-made maps.
        ValueError: If the protocol is not.
    """
    metadata: Any = instantiate(config.datamodule)
    if not isinstance(metadata, WsolMetadata):
        raise TypeError("score_maps= is measured against datamodule=wsol_metadata datamodule.metadata=DIR")
    protocol = config.localization.also.get("pxap" if metadata.has_masks else "max_box_acc")
    if protocol is None:
        raise ValueError("ready-made maps are measured by localization=wsolevaluation")
    # The other callbacks look at images and at a network's predictions, and here are none.
    config.callbacks = {name: config.callbacks.get(name) for name in ("progress", "image_counts")}
    run.write_config(config)
    maps = ReadyMadeMaps(ScoreMapFiles(config.score_maps), metadata)
    evaluator = MapEvaluator(maps, instantiate(protocol), config.map_loader.batch_size, config.map_loader.num_workers)
    trainer = build_trainer(config, run, [])
    trainer.test(evaluator, verbose=False)
    metrics: dict[str, float | int | str] = {
        f"test/localization/{name}": value.item() for name, value in evaluator.results.items()
    }
    metrics["test/localization/threshold_source"] = "oracle"
    for name in ("max_box_acc", "max_box_acc_v2"):
        if f"test/localization/{name}" in metrics:
            metrics[f"test/localization/{name}_threshold_source"] = "oracle"
    run.write_metrics(metrics)
    if trainer.is_global_zero:
        metrics |= protocol_intervals(run.path / "per_image", metrics)
        run.write_metrics(metrics)
        console = Console()
        console.print(results_table(metrics, ["test"]))
        flat = metrics["test/localization/num_degenerate"]
        if flat:
            console.print(f"{flat} maps are flat or not finite.", highlight=False)
        console.print(f"Run directory: {run.path}", highlight=False, soft_wrap=True)
