"""Counts of the metrics over data sets of several sizes, on every rank; started by test_distributed.py."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from camloc.data.images.transforms import EvalTransform
from camloc.data.loading.dataset import EvalDataset
from camloc.data.loading.sample import EvalSample, collate_eval
from camloc.data.loading.samplers import EvalSampler
from camloc.data.loading.split import Shrink
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.corloc import CorLoc
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.multi_label import MultiLabelRanking
from camloc.metrics.pxap import PxAP
from camloc.metrics.stock import StockMetric
from camloc.records import Pairs

NUM_CLASSES = 7


class NoisySplit:
    """Images whose red channel is their score map and whose first row holds their logits."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(count)
        coarse = torch.rand(count, 1, 4, 5, generator=generator)
        maps = torch.nn.functional.interpolate(coarse, (24, 36), mode="bilinear")[:, 0]
        self.images = (maps * 255).byte()[:, None].expand(-1, 3, -1, -1).contiguous()
        self.targets = torch.randint(NUM_CLASSES, (count,), generator=generator)
        self.corners = torch.randint(0, 12, (count, 2, 2), generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def image_id(self, index: int) -> str:
        return str(index)

    def target(self, index: int) -> int:
        return int(self.targets[index])

    def image(self, index: int, shrink: Shrink | None = None) -> torch.Tensor:  # noqa: ARG002 - drawn in memory
        return self.images[index]

    def file(self, index: int) -> None:
        """There is none."""

    def gt_boxes(self, index: int) -> list[torch.Tensor]:
        corners = self.corners[index].float()
        return [torch.cat([corners, corners + 12], dim=1)[: 1 + index % 2]]

    def masks(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = self.images[index, :1] > 100
        return mask, torch.zeros_like(mask)


def counts(num_samples: int, world_size: int, rank: int) -> dict[str, list[Any]]:
    dataset: Dataset[EvalSample] = EvalDataset(NoisySplit(num_samples), EvalTransform(24))
    loader = DataLoader(
        dataset, batch_size=3, sampler=EvalSampler(num_samples, world_size, rank), collate_fn=collate_eval
    )
    ranking, corloc = MultiLabelRanking(), CorLoc([str(index) for index in range(NUM_CLASSES)], iou_threshold=0.3)
    localization, classification, centred = LocalizationError(), ClassificationError(), CentredBoxError()
    max_box_acc, pxap = MaxBoxAcc(0.1), PxAP(0.1)
    accuracy = StockMetric("accuracy", MulticlassAccuracy(num_classes=NUM_CLASSES, average="micro"))
    calibration = StockMetric("calibration", MulticlassCalibrationError(num_classes=NUM_CLASSES))
    for images, batch in loader:
        score_maps = images[:, 0].float() / 255
        logits = images[:, 0, 0, :NUM_CLASSES].float()
        localization.update(logits, batch.target, score_maps, batch.gt_boxes, batch.is_padding)
        for metric in (classification, accuracy, calibration):
            metric.update(logits, batch.target, batch.is_padding)
        centred.update(batch.gt_boxes, (24, 24), batch.is_padding)
        resized = [boxes.long() for boxes in batch.gt_boxes]
        max_box_acc.update(score_maps, resized, batch.is_padding)
        assert batch.masks is not None
        pxap.update(score_maps, batch.masks[:, 0], batch.masks[:, 1], batch.is_padding)
        # Several labels, among them none and all; a class is shown by no image and one by every image.
        labels = logits > torch.tensor([-1.0, 60, 90, 120, 150, 180, 300])
        ranking.update(logits.flip(1), labels, batch.is_padding)
        pairs, kept = Pairs.of_target(labels[~batch.is_padding]), batch.gt_boxes
        boxes = [one for one, padding in zip(kept, batch.is_padding.tolist(), strict=True) if not padding]
        of_pairs = [boxes[index] for index in pairs.image_index.tolist()]
        shown = torch.tensor([[4.0, 4.0, 20.0, 20.0]]).expand(len(pairs.classes), 4)
        corloc.update(pairs.classes, shown, of_pairs)
    result: dict[str, list[Any]] = {}
    metrics: dict[str, Any] = {
        "localization": localization,
        "classification": classification,
        "centred": centred,
        "max_box_acc": max_box_acc,
        "pxap": pxap,
    }
    ranked = {key: value.tolist() for key, value in ranking.compute().items()}
    result["multi_label"] = [ranked["ranked_num_images"], [], ranked]
    located = {key: value.tolist() for key, value in corloc.compute().items()}
    result["corloc"] = [located["corloc_num_images"], [], located]
    for stock in (accuracy, calibration):
        # Gathered floats are added up in another order.
        found = {key: round(value.item(), 5) for key, value in stock.compute().items()}
        result[stock.name] = [found.pop(f"{stock.name}_num_images"), [], found]
    for name, metric in metrics.items():
        errors = {key: value.tolist() for key, value in metric.compute().items()}
        with metric.sync_context(should_sync=world_size > 1):
            counts = metric.histograms if name == "pxap" else metric.hits
            result[name] = [metric.num_images.item(), counts.flatten().tolist(), errors]
    return result


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    own_rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found = {size: counts(int(size), processes, own_rank) for size in sys.argv[2:]}
    Path(f"{sys.argv[1]}.{own_rank}").write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.destroy_process_group()
