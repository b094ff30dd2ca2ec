"""Places of classes in images, worked out by hand: red and green squares with halos."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from camloc.attribution.score_map import score_map
from camloc.backbones.box_head import BoxRegressor
from camloc.data.images.transforms import EvalTransform
from camloc.localization.released_boxes import released_boxes
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.localized import LocalizedImage, from_json, to_json
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.localizer import Localizer, as_image, chosen_pairs
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.placing import Choice, Inputs, Placing, RawOutputs, Threshold
from camloc.records import Pairs

SQUARES = run_path(str(Path(__file__).parent.parent / "experiment" / "squares.py"))
network: Callable[[], NetworkPredictor] = SQUARES["network"]
image: Callable[..., Tensor] = SQUARES["image"]
RED, GREEN = image(0, 0.5, (8, 8)), image(1, 0.5, (8, 8))
OBJECT, HALO = (1.0, 2.0, 5.0, 6.0), (0.0, 1.0, 8.0, 7.0)
BLACK = torch.zeros(3, 8, 8, dtype=torch.uint8)


def localizer(threshold: float = 0.7, **options: Any) -> Localizer:  # noqa: ANN401 - the localizer's
    return Localizer(
        network(),
        ["red", "green"],
        EvalTransform(8),
        partial(score_map, normalization="minmax"),
        threshold=Threshold(threshold, "given"),
        **options,
    )


def boxes(found: LocalizedImage) -> list[tuple[str, tuple[float, ...]]]:
    return [(one.name, box.box) for one, box in found.boxes]


def test_the_most_probable_class_gets_the_box_at_the_threshold() -> None:
    red, green = localizer().localize([RED, GREEN])
    assert boxes(red) == [("red", OBJECT)]
    assert boxes(green) == [("green", OBJECT)]
    assert boxes(localizer(0.3).localize([RED])[0]) == [("red", HALO)]
    assert red.size == (8, 8)
    assert red.classes[0].peak == (1.5, 2.5)  # the first of the brightest pixels
    mean = (16 * 255 + 32 * round(255 * 0.5)) / 255 / 64
    expected = torch.tensor([mean, 0.0]).softmax(dim=0)
    assert red.classes[0].probability == pytest.approx(float(expected[0]), abs=1e-6)
    assert red.probabilities == pytest.approx(expected.numpy(), abs=1e-6)
    assert red.boxes[0][1].score == red.classes[0].probability


def test_nothing_found_is_an_answer() -> None:
    (found,) = localizer().localize([RED], probability=0.99)
    assert (found.classes, found.boxes, found.error) == ((), [], None)
    assert found.probabilities is not None
    (flat,) = localizer().localize([BLACK])
    assert flat.classes[0].boxes == ()
    assert flat.classes[0].peak is None


def test_several_labels_are_independent() -> None:
    both = torch.maximum(RED, GREEN)
    (found,) = localizer(several_labels=True).localize([both])
    assert [one.name for one in found.classes] == ["red", "green"]
    sigmoid = torch.tensor((16 * 255 + 32 * 128) / 255 / 64).sigmoid()
    assert found.classes[1].probability == pytest.approx(float(sigmoid), abs=1e-6)
    assert localizer(several_labels=True).localize([both], probability=0.7)[0].classes == ()


def test_boxes_at_all_thresholds_of_a_page_are_those_of_single_ones() -> None:
    placing = localizer(0.305).placing
    assert placing.shown_thresholds == sorted([*(step / 100 for step in range(100)), 0.305])
    wide = torch.zeros(3, 8, 16, dtype=torch.uint8)
    wide[:, :, 4:12] = RED
    for number, threshold in enumerate(placing.shown_thresholds):
        (single,) = localizer(threshold).localize([wide], maps=True)
        (found,) = single.classes
        assert found.score_map is not None
        (boxes,) = placing.boxes_at_shown_thresholds(torch.from_numpy(found.score_map)[None], [0], single.window)
        best = found.boxes[0].box if found.boxes else (0, 0, 0, 0)
        assert boxes[number].tolist() == list(best), threshold


def test_a_page_has_no_box_of_a_class_without_objects_or_where_there_is_no_threshold() -> None:
    maps = torch.eye(8)[None].repeat(2, 1, 1)
    placing = localizer(objectless=[1]).placing
    boxes = placing.boxes_at_shown_thresholds(maps, [0, 1], (0, 0, 8, 8))
    assert boxes[0, 0].tolist() == [0, 0, 8, 8]
    assert not boxes[1].any()
    rule = partial(released_boxes, box="loose")
    assert localizer(box_rule=rule).placing.boxes_at_shown_thresholds(maps, [0, 1], (0, 0, 8, 8)).shape == (2, 0, 4)


def test_a_class_without_objects_has_no_box() -> None:
    (found,) = localizer(objectless=[0]).localize([RED])
    assert [(one.name, one.boxes) for one in found.classes] == [("red", ())]
    assert boxes(localizer(objectless=[0]).localize([GREEN])[0]) == [("green", OBJECT)]


@pytest.mark.parametrize("options", [{"devices": ["cpu"] * 3}, {}])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_devices_and_batches_change_nothing(options: dict[str, Any], batch_size: int) -> None:
    images = [image(place % 2, 0.1 * place, (8, 8 + place)) for place in range(7)]
    expected = [to_json(one) for one in localizer().localize(images, top_k=2, boxes="all", batch_size=32)]
    found = localizer(**options).localize(images, top_k=2, boxes="all", batch_size=batch_size)
    assert [to_json(one) for one in found] == expected
    assert [one.name for one in found] == [str(place) for place in range(7)]


def test_all_components_come_largest_first_and_small_ones_go() -> None:
    spots = BLACK.clone()
    spots[0, 0:3, 0:4] = 255
    spots[0, 6:8, 6:8] = 204
    (found,) = localizer(0.5).localize([spots], boxes="all", masks=True)
    (_, large), (_, small) = found.boxes
    assert (large.box, small.box) == ((0.0, 0.0, 4.0, 3.0), (6.0, 6.0, 8.0, 8.0))
    assert small.score == pytest.approx(large.score * 204 / 255, abs=1e-6)
    assert large.mask is not None
    assert small.mask is not None
    assert np.argwhere(small.mask).tolist() == [[6, 6], [6, 7], [7, 6], [7, 7]]
    assert large.mask.sum() == 12
    kept = localizer(0.5).localize([spots], boxes="all", min_size=4 / 64 + 1e-9)[0]
    assert boxes(kept) == [("red", large.box)]
    assert len(localizer(0.5).localize([spots], boxes="all", min_size=4 / 64)[0].boxes) == 2


def test_boxes_peaks_and_masks_are_in_pixels_of_the_image() -> None:
    placing = Placing(
        ["a"], (2, 4), partial(score_map, normalization="none"), largest_component_boxes, Threshold(0.5, "given")
    )
    cams = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.8, 1.0]]])
    raw = RawOutputs(torch.ones(1, 1), Pairs.of_target(torch.tensor([0])), cams, None)
    batch = Inputs(torch.zeros(1, 3, 2, 4, dtype=torch.uint8), ["x"], [(20, 100)], [(10, 0, 90, 20)], [0.25])
    (found,) = placing.place(batch, raw, Choice(masks=True, maps=True))
    ((one, box),) = found.boxes
    assert box.box == (50.0, 10.0, 90.0, 20.0)
    assert one.peak == (80.0, 15.0)
    assert box.mask is not None
    assert box.mask.shape == (20, 100)
    assert box.mask[10:, 50:90].all()
    assert box.mask.sum() == 400
    assert one.cam is not None
    assert one.cam.tolist() == cams[0].tolist()
    again = from_json(json.loads(json.dumps(to_json(found))))
    assert again.boxes[0][1].mask is not None
    assert (again.boxes[0][1].mask == box.mask).all()
    assert to_json(again) == to_json(found)
    assert (found.clipped, again.clipped) == (0.25, 0.25)


def test_any_kind_of_image_is_taken(tmp_path: Path) -> None:
    pixels = RED.permute(1, 2, 0).numpy()
    file = tmp_path / "red.png"
    Image.fromarray(pixels).save(file)
    given: list[Any] = [RED, pixels, Image.fromarray(pixels), file, str(file)]
    found = localizer().localize(given)
    assert [boxes(one) for one in found] == [[("red", OBJECT)]] * 5
    assert [one.name for one in found] == ["0", "1", "2", str(file), str(file)]


@pytest.mark.parametrize("given", [torch.zeros(3, 8, 8), np.zeros((8, 8), np.uint8), 7, torch.zeros(3, 0, 8).byte()])
def test_what_is_no_image_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="an image is a path"):
        as_image(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, "probability=1.5"),
        ({"top_k": 0}, "top_k=0"),
        ({"min_size": 1.0}, "min_size=1.0"),
        ({"boxes": "some"}, "boxes=some"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        localizer().localize([RED], **options)


def test_one_path_is_no_list() -> None:
    with pytest.raises(ValueError, match="is one path"):
        localizer().localize("a.jpg")


def test_rules_without_a_threshold_have_no_components() -> None:
    other = localizer(box_rule=released_boxes)
    assert other.placing.threshold is None
    assert len(other.localize([RED])[0].boxes) == 1
    with pytest.raises(ValueError, match="boxes=all needs components"):
        other.localize([RED], boxes="all")
    with pytest.raises(ValueError, match="masks=true needs components"):
        other.localize([RED], masks=True)


def test_a_network_with_a_box_head_needs_no_maps() -> None:
    regressor = BoxRegressor(network().backbone)
    found = Localizer(
        BoxPredictor(regressor), ["red", "green"], EvalTransform(8), partial(score_map, normalization="minmax")
    )
    assert found.placing.threshold is None
    (one,) = found.localize([RED], top_k=2)
    assert [len(of_class.boxes) <= 1 and of_class.peak is None for of_class in one.classes] == [True, True]
    with pytest.raises(ValueError, match="predicts boxes itself"):
        found.localize([RED], maps=True)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((None, None), [1, 2, 0]), ((0.3, None), [1, 2]), ((None, 1), [1]), ((0.3, 1), [1]), ((0.6, 2), [])],
)
def test_classes_are_chosen_by_probability_and_rank(
    limits: tuple[float | None, int | None], expected: Sequence[int]
) -> None:
    assert chosen_pairs(torch.tensor([[0.2, 0.5, 0.3]]), *limits).classes.tolist() == expected
