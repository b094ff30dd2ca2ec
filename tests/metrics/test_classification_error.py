import torch

from camloc.metrics.classification_error import ClassificationError


def test_errors_by_hand_over_two_batches_with_padding() -> None:
    metric = ClassificationError()
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]])
    metric.update(logits, torch.tensor([0, 0, 5]))  # rank 0, rank 5, rank 5
    metric.update(logits, torch.tensor([1, 5, 0]), torch.tensor([False, True, True]))  # rank 1, two repeats
    errors = metric.compute()
    assert errors["top1_error"].item() == 0.75
    assert errors["top5_error"].item() == 0.5
    assert metric.num_images.dtype == torch.int64


def test_with_few_classes_every_prediction_is_among_the_top_five() -> None:
    metric = ClassificationError()
    metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert metric.compute()["top5_error"].item() == 0
