import pytest
import torch
from torch import Tensor

from camloc.localization.graph_cut import graph_cut_boxes


def rectangle(box: tuple[int, int, int, int], size: tuple[int, int] = (48, 64), seed: int = 0) -> Tensor:
    """A noisy bright rectangle on a noisy dark ground, (1,3,H,W)."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(20, 50, (1, 3, *size), generator=generator, dtype=torch.uint8)
    x0, y0, x1, y1 = box
    image[..., y0:y1, x0:x1] += 150
    return image


def bump(centre: tuple[int, int], size: tuple[int, int] = (48, 64)) -> Tensor:
    """A map that falls off from a place, (1,H,W) in [0,1]."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 200)[None]


@pytest.mark.parametrize("box", [(10, 8, 40, 30), (0, 0, 25, 20), (30, 20, 64, 48)])
def test_a_bright_rectangle_is_its_box(box: tuple[int, int, int, int]) -> None:
    centre = ((box[1] + box[3]) // 2, (box[0] + box[2]) // 2)
    assert graph_cut_boxes(bump(centre), rectangle(box)).tolist() == [list(box)]


def test_the_largest_component_counts() -> None:
    image = rectangle((4, 6, 30, 40))
    image[..., 20:24, 50:54] = 200  # of the object's colour, in the undecided part of the map
    assert graph_cut_boxes(bump((22, 20)), image, background=0.01).tolist() == [[4, 6, 30, 40]]


@pytest.mark.parametrize("value", [0.0, 0.5, torch.nan])
def test_a_map_without_a_peak_has_no_box(value: float) -> None:
    assert graph_cut_boxes(torch.full((1, 48, 64), value), rectangle((4, 6, 30, 40))).tolist() == [[0, 0, 0, 0]]


def test_an_image_of_one_colour_has_some_box() -> None:
    x0, y0, x1, y1 = graph_cut_boxes(bump((20, 20)), torch.full((1, 3, 48, 64), 7, dtype=torch.uint8))[0].tolist()
    assert 0 <= x0 < x1 <= 64
    assert 0 <= y0 < y1 <= 48


def test_what_does_not_fit_is_refused() -> None:
    image = rectangle((4, 6, 30, 40))
    with pytest.raises(ValueError, match=r"images is torch.float32 \(1, 3, 48, 64\); give uint8 \(1, 3, 48, 64\)"):
        graph_cut_boxes(bump((2, 2)), image.float())
    with pytest.raises(ValueError, match=r"give uint8 \(1, 3, 20, 20\)"):
        graph_cut_boxes(bump((2, 2), (20, 20)), image)
    with pytest.raises(ValueError, match=r"box_rule.background=0.9 and box_rule.foreground=0.5 must ascend"):
        graph_cut_boxes(bump((2, 2)), image, foreground=0.5, background=0.9)
    with pytest.raises(ValueError, match=r"give \(P,H,W\)"):
        graph_cut_boxes(bump((2, 2))[0], image)
