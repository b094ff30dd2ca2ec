"""What each metric is handed, and what is not measured without it."""

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.data.loading.sample import Prediction, Truth
from camloc.evaluation import SplitMetrics
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP


class Recorder(Metric):
    """Keeps what it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[tuple[Tensor, list[int]]] = []

    def update(self, reported_boxes: Tensor, positions: list[int], is_padding: Tensor | None = None) -> None:
        assert is_padding is not None
        self.handed.append((reported_boxes, positions))

    def compute(self) -> dict[str, Tensor]:
        return {"recorder_num_images": torch.tensor(len(self.handed))}


def truth(*, boxes: bool = True, masks: bool = False, window: tuple[int, int, int, int] = (0, 0, 32, 16)) -> Truth:
    gt_boxes = [torch.tensor([[2.0, 2.0, 6.0, 6.0]]) if boxes else torch.zeros(0, 4)] * 2
    return Truth(
        target=torch.tensor([0, 1]),
        gt_boxes=gt_boxes,
        image_boxes=[b * torch.tensor([4.0, 2.0, 4.0, 2.0]) for b in gt_boxes],
        masks=torch.ones(2, 2, 8, 8, dtype=torch.bool) if masks else None,
        map_size=(8, 8),
        image_sizes=[(16, 32)] * 2,
        windows=[window] * 2,
        image_ids=["a", "b"],
        positions=[0, 1],
        is_padding=torch.tensor([False, False]),
    )


def prediction(metric: LocalizationError) -> Prediction:
    score_maps = torch.zeros(2, 8, 8)
    score_maps[:, 2:6, 2:6] = 1
    boxes = largest_component_boxes(score_maps, metric.cam_thresholds)
    return Prediction(torch.zeros(2, 3), score_maps, score_maps, boxes)


def test_every_protocol_is_measured_from_one_pass() -> None:
    localization = LocalizationError(cam_threshold=0.5)
    metrics = SplitMetrics(localization, {"max_box_acc": MaxBoxAcc(0.5), "pxap": PxAP(0.5), "recorder": Recorder()})
    metrics.update(truth(masks=True), prediction(localization))
    found = metrics.compute()
    assert found["localization/gt_known_error"].item() == 0
    assert found["localization/max_box_acc"].item() == 1
    assert 0 < found["localization/pxap"].item() <= 1
    assert metrics.counted == ["max_box_acc", "pxap", "recorder"]
    ((reported, positions),) = metrics.also["recorder"].handed  # type: ignore[misc] # a Recorder
    assert reported.tolist() == [[8, 4, 24, 12]] * 2  # pixels of the 16x32 image
    assert positions == [0, 1]
    assert metrics.image_counts().keys() == {"max_box_acc", "pxap"}


def test_what_the_split_lacks_is_not_measured_and_has_no_number() -> None:
    localization = LocalizationError()
    metrics = SplitMetrics(localization, {"max_box_acc": MaxBoxAcc(0.5), "pxap": PxAP(0.5), "recorder": Recorder()})
    metrics.update(truth(boxes=False), prediction(localization))
    found = metrics.compute()
    assert not any(name.startswith("localization/") for name in found)
    assert found["classification/top1_error"].item() == 0.5  # of tied logits the first class wins
    assert metrics.counted == []
    everything = metrics.compute(counted_only=False)
    assert {"localization/top1_error", "localization/pxap", "localization/max_box_acc"} <= everything.keys()


def test_no_reported_box_without_a_threshold() -> None:
    localization = LocalizationError()
    metrics = SplitMetrics(localization, {"recorder": Recorder()})
    metrics.update(truth(), prediction(localization))
    assert metrics.counted == []
    assert metrics.also["recorder"].handed == []
    assert metrics.compute()["localization/num_images"].item() == 2
