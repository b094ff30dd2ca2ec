"""The LightningModule that measures a predictor: every protocol from one pass over each split."""

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from camloc.boxes import from_window
from camloc.experiment.measuring.evidence import pair_logits
from camloc.experiment.measuring.localized import apply_uncut, to_images, without_boxes
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.split_protocols import Counted, SplitProtocols, SplitResult
from camloc.experiment.measuring.store import PairStore, Stored
from camloc.metrics.functional.breakdown import NO_CAUSE, miss_causes, object_share
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.localization_error import LocalizationError
from camloc.predictors.contract import Batch, Predictor
from camloc.records import NUM_PREDICTIONS, Prediction, Truth

PROGRESS_BAR = ("classification/top1_error", "localization/top1_error", "localization/gt_known_error")


class EvaluationModule(LightningModule):
    """Count a predictor's answers on ``val`` and ``test``.

    Args:
        predictor: Where predictions come from.
        measures: What is measured.
        num_ranked: How many of the most likely classes are mapped as well, for those who write them to files.
        box_ranked: Whether these maps are boxed.
    """

    def __init__(
        self, predictor: Predictor, measures: Measures, *, num_ranked: int = 0, box_ranked: bool = False
    ) -> None:
        super().__init__()
        self.predictor, self.measures = predictor, measures
        self.num_ranked, self.box_ranked = num_ranked, box_ranked
        self.protocols = {"val": SplitProtocols(measures), "test": SplitProtocols(measures)}
        self.val_protocols, self.test_protocols = self.protocols["val"], self.protocols["test"]
        for protocol in self.val_protocols.protocols.values():
            protocol.forget_listed_images()
        self.results: dict[str, SplitResult] = {}
        """Of each split when it was last evaluated."""
        self._outcomes: dict[str, PairStore] = {}
        self._pairs = PairStore()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ANN401 - of training too
        """Move a batch without its lists, of which Lightning would visit each value: they are read on the CPU."""
        truth = getattr(batch, "truth", None)
        if truth is None:
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        lists = {name: value for name, value in truth._asdict().items() if isinstance(value, list)}
        without = batch._replace(truth=truth._replace(**{name: [] for name in lists}))
        moved = super().transfer_batch_to_device(without, device, dataloader_idx)
        return moved._replace(truth=moved.truth._replace(**lists))

    def predict(self, batch: Any, protocols: SplitProtocols) -> Prediction:  # noqa: ANN401 - each source has its own batch
        """Predict on a batch and add the score maps and boxes that people are shown; nothing is counted."""
        return protocols.localize(self.predictor.predict(batch), batch.truth)

    def predict_batch(self, batch: Batch, num_ranked: int) -> Prediction:
        """Predict on a batch to be counted, and map the ``num_ranked`` most likely classes as well."""
        return self.predictor.predict(batch, num_ranked=num_ranked)

    def shown_threshold(self) -> float | None:
        """Return the CAM threshold of the boxes that people are shown of ``val``, as it was last validated, if any."""
        result, protocols = self.results["val"], self.val_protocols
        key = "" if protocols.shown is None else protocols.key(protocols.shown, "cam_threshold")
        return float(result.numbers[key]) if key in result.numbers else protocols.shown_threshold

    def shown_curve(self) -> tuple[Sequence[float], Tensor] | None:
        """Return the IoU thresholds (I,) and the GT-known errors (I,T) of the last validation; None without boxes."""
        protocols = self.val_protocols
        protocol = None if protocols.shown is None else protocols.protocols[protocols.shown]
        if protocols.shown is None or not isinstance(protocol, LocalizationError):
            return None
        curve = self.results["val"].numbers.get(protocols.key(protocols.shown, "gt_known_curve"))
        return None if curve is None else (protocol.iou_thresholds, curve)

    def validation_step(self, batch: Batch) -> Counted:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that thresholds are chosen on."""
        return self._count(batch, "val")

    def test_step(self, batch: Batch) -> Counted:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that results are reported on."""
        return self._count(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the numbers of ``val``."""
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        """Log the numbers of ``test``."""
        self._conclude("test")

    @property
    def _is_watched_only(self) -> bool:
        """Whether this validation only watches a training, so that nothing is kept of single pairs."""
        return self.trainer.state.fn == TrainerFn.FITTING

    def _count(self, batch: Batch, split: str) -> Counted:
        prediction = self.predict_batch(batch, 0 if self._is_watched_only else self.num_ranked)
        counted = self.protocols[split].update(prediction, batch.truth)
        if not self._is_watched_only:
            pairs = counted.prediction.pairs
            positions = [counted.truth.positions[i] for i in pairs.image_index.tolist()]
            classes = pairs.classes.tolist()
            for name, outcome in counted.outcomes.items():
                if outcome.values:
                    of_protocol = counted.places[name]
                    self._outcomes.setdefault(name, PairStore()).add(
                        [positions[place] for place in of_protocol],
                        [classes[place] for place in of_protocol],
                        outcome.values,
                    )
            self._pairs.add(positions, classes, self._pair_values(counted))
        return counted

    def _pair_values(self, counted: Counted) -> dict[str, Tensor]:
        prediction, truth = counted.prediction, counted.truth
        pairs, logits, boxes = prediction.pairs, prediction.logits, counted.shown_boxes
        values: dict[str, Tensor] = {}
        is_right = torch.ones(len(pairs.classes), dtype=torch.bool)
        if logits is not None:
            values["predicted"] = logits.topk(min(NUM_PREDICTIONS, logits.shape[1])).indices[pairs.image_index]
            values["rank"] = class_rank(pair_logits(logits, truth.target), pairs.classes)
            is_right = values["rank"].cpu() == 0
        places = truth.with_boxes.nonzero().flatten().tolist()
        if boxes is not None:
            values["boxes"] = to_images(boxes.float(), pairs, truth)
            causes = values["causes"] = torch.full((len(boxes),), NO_CAUSE)
            if places:
                true_boxes = [truth.gt_boxes[place] for place in places]
                causes[places] = miss_causes(boxes[places], true_boxes, is_right[places], self.measures.iou_threshold)
        shares = values["object_shares"] = torch.full((len(truth.gt_boxes),), torch.nan, dtype=torch.float64)
        if places:
            image_index = pairs.image_index.tolist()
            sizes = [truth.image_sizes[image_index[place]] for place in places]
            shares[places] = object_share([truth.image_boxes[place] for place in places], sizes)
        if self.box_ranked and prediction.ranked is not None:
            of_pairs = pairs.image_index.cpu()
            values["ranked_classes"] = prediction.ranked.classes.cpu()[of_pairs]
            values["ranked_boxes"] = self._ranked_boxes(prediction, truth)[of_pairs]
        return values

    def _ranked_boxes(self, prediction: Prediction, truth: Truth) -> Tensor:
        """Return the (B,G,4) boxes of the most likely classes, float64 pixels of the images."""
        ranked = prediction.ranked
        if ranked is not None and ranked.image_boxes is not None:
            return without_boxes(ranked.image_boxes, ranked.classes, self.measures.objectless)
        if ranked is None or ranked.cams is None:
            raise ValueError("this source of predictions has no maps of the most likely classes")
        protocols = self.test_protocols
        score_maps = self.measures.score_map(ranked.cams.flatten(0, 1), truth.map_size).cpu()
        if protocols.shown_threshold is None:
            images = prediction.images
            repeated = None if images is None else images.repeat_interleave(ranked.classes.shape[1], dim=0)
            boxes = apply_uncut(self.measures.box_rule, score_maps, repeated)
        else:
            boxes = self.measures.box_rule(score_maps, [protocols.shown_threshold])[:, 0]
        by_image = boxes.double().view(*ranked.classes.shape, 4)
        placed = [from_window(box, window, truth.map_size) for box, window in zip(by_image, truth.windows, strict=True)]
        boxes = torch.stack(placed) if placed else by_image
        return without_boxes(boxes, ranked.classes, self.measures.objectless)

    def _conclude(self, split: str) -> None:
        protocols = self.protocols[split]
        numbers = protocols.compute()
        unmet = dict(protocols.unmet)
        outcomes, pairs = {}, Stored.nothing()
        num_images = int(protocols.images.compute())
        if not self._is_watched_only:
            world_size = self.trainer.world_size
            # In the protocols' order and all of them: a process may have had no batch that counted.
            outcomes = {name: self._outcomes.get(name, PairStore()).gather(world_size) for name in protocols.protocols}
            pairs = self._pairs.gather(world_size)
        self.results[split] = SplitResult(numbers, protocols.chosen_threshold(), outcomes, pairs, unmet, num_images)
        protocols.reset()
        self._outcomes, self._pairs = {}, PairStore()
        for name, value in numbers.items():
            if value.ndim == 0:
                # Counts are summed over processes already: every rank logs the same number.
                self.log(f"{split}/{name}", value.float(), prog_bar=name in PROGRESS_BAR)
