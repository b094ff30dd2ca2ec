import torch

from camloc.metrics.centred_box import CentredBoxError


def test_best_scale_by_hand() -> None:
    metric = CentredBoxError(num_scales=4)
    half = torch.tensor([[25.0, 10.0, 75.0, 30.0]])  # exactly the centred box of scale 0.5 in 40x100
    corner = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    metric.update([half, corner, half, corner], (40, 100), torch.tensor([False, False, False, True]))
    result = metric.compute()
    assert result["gt_known_error"].item() == 1 - 2 / 3
    assert result["scale"].item() == 0.5


def test_one_of_several_true_boxes_is_enough() -> None:
    metric = CentredBoxError()
    metric.update([torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 10.0, 10.0]])], (10, 10))
    assert metric.compute()["gt_known_error"].item() == 0
