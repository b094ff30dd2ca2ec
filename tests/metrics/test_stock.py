import pytest
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from camloc.metrics.stock import StockMetric


class Undecided(Metric):
    """Says not which direction is better."""

    def update(self, logits: Tensor, target: Tensor) -> None:
        del logits, target

    def compute(self) -> Tensor:
        return torch.tensor(3.0)


def test_the_number_is_that_of_the_metric_over_counted_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(40, 5, generator=generator), torch.randint(5, (40,), generator=generator)
    metric = StockMetric("calibration", MulticlassCalibrationError(num_classes=5, n_bins=4))
    is_padding = torch.zeros(20, dtype=torch.bool)
    is_padding[-3:] = True
    metric.update(logits[:20], target[:20])
    metric.update(logits[20:], target[20:], is_padding)
    # Expected calibration error by hand: four bins of the largest probability.
    probs, predicted = logits[:37].softmax(dim=1).max(dim=1)
    right, error = (predicted == target[:37]).float(), 0.0
    for low in (0, 0.25, 0.5, 0.75):
        inside = (probs > low) & (probs <= low + 0.25)
        if inside.any():
            error += float(inside.float().mean() * (right[inside].mean() - probs[inside].mean()).abs())
    found = metric.compute()
    assert found["calibration"].item() == pytest.approx(error, abs=1e-6)
    assert found["calibration_num_images"].item() == 37


def test_its_row_has_the_direction_of_the_metric() -> None:
    higher = StockMetric("top1_accuracy", MulticlassAccuracy(num_classes=3))
    (row,) = higher.rows
    assert (row.key, row.title, row.direction, row.threshold) == ("top1_accuracy", "top1 accuracy", "max", "none")
    assert StockMetric("calibration", MulticlassCalibrationError(num_classes=3)).rows[0].direction == "min"
    assert higher.section == "classification"


def test_a_metric_without_a_direction_is_refused_unless_it_is_named() -> None:
    with pytest.raises(ValueError, match=r"protocols.odd: Undecided does not say .* direction: min or max"):
        StockMetric("odd", Undecided())
    metric = StockMetric("odd", Undecided(), direction="min")
    metric.update(torch.eye(2), torch.tensor([0, 1]))
    assert (metric.compute()["odd"].item(), metric.rows[0].direction) == (3.0, "min")
    with pytest.raises(ValueError, match="direction must be min or max, got 'down'"):
        StockMetric("odd", Undecided(), direction="down")  # type: ignore[arg-type] # as a configuration may say


def test_anything_but_one_number_is_refused() -> None:
    metric = StockMetric("per_class", MulticlassAccuracy(num_classes=3, average="none"))
    metric.update(torch.eye(3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"protocols.per_class: MulticlassAccuracy computes shape \(3,\), not one"):
        metric.compute()


def test_reset_forgets_the_counts_of_the_metric() -> None:
    metric = StockMetric("accuracy", MulticlassAccuracy(num_classes=2, average="micro"))
    metric.update(torch.eye(2), torch.tensor([1, 0]))
    assert metric.compute()["accuracy"].item() == 0
    metric.reset()
    metric.update(torch.eye(2), torch.tensor([0, 1]))
    assert metric.compute()["accuracy"].item() == 1
    assert metric.compute()["accuracy_num_images"].item() == 2


def test_nothing_counted_is_nan() -> None:
    metric = StockMetric("calibration", MulticlassCalibrationError(num_classes=2))
    metric.update(torch.eye(2), torch.tensor([1, 0]), torch.tensor([True, True]))
    assert metric.compute()["calibration"].isnan()


def test_what_the_metric_refuses_names_its_entry_of_the_configuration() -> None:
    metric = StockMetric("calibration", MulticlassCalibrationError(num_classes=10))
    with pytest.raises(
        ValueError, match=r"localization\.protocols\.calibration: MulticlassCalibration.* refuses \(N,9\)"
    ):
        metric.update(torch.zeros(4, 9), torch.zeros(4, dtype=torch.int64))


def test_copies_in_a_collection_count_on_their_own() -> None:
    metric = StockMetric("accuracy", MulticlassAccuracy(num_classes=2, average="micro"))
    together = MetricCollection({"a": metric, "b": metric.clone()})
    for target in ([0, 1], [1, 0]):
        together.update(torch.eye(2), torch.tensor(target))
    assert together.compute()["a_accuracy"] == together.compute()["b_accuracy"] == 0.5
    assert together.compute()["b_accuracy_num_images"] == 4


def test_counts_of_two_are_merged() -> None:
    first = StockMetric("accuracy", MulticlassAccuracy(num_classes=2, average="micro"))
    second = first.clone()
    first.update(torch.eye(2), torch.tensor([0, 1]))
    second.update(torch.eye(2), torch.tensor([1, 0]))
    assert first.compute()["accuracy"] == 1
    first.merge_state(second)
    assert (first.compute()["accuracy"].item(), first.compute()["accuracy_num_images"].item()) == (0.5, 4)
    with pytest.raises(ValueError, match="accuracy can only be merged with a StockMetric of a MulticlassAccuracy"):
        first.merge_state(StockMetric("other", MulticlassCalibrationError(num_classes=2)))
