import numpy as np
import pytest
from numpy.typing import NDArray

from camloc.metrics.functional.localization import CONDITIONS, RANK_LIMITS, Condition
from camloc.metrics.functional.per_image import PerImage, error
from camloc.metrics.functional.threshold_intervals import error_intervals, fixed_intervals

THRESHOLDS = np.array([0.1, 0.2, 0.3])


def split(num_images: int, seed: int) -> PerImage:
    rng = np.random.default_rng(seed)
    return PerImage(
        image_ids=np.array([f"{seed}-{index}" for index in range(num_images)]),
        target=np.zeros(num_images, dtype=np.int64),
        rank=rng.integers(0, 8, num_images),
        iou=rng.random((num_images, 3)),
        cam_thresholds=THRESHOLDS,
    )


VAL, TEST = split(60, seed=0), split(80, seed=1)


def plain(condition: Condition, select: str) -> tuple[float, float]:
    """Resample image by image, as the definition says it."""

    def hits(kept: PerImage, name: Condition) -> NDArray[np.bool_]:
        assert kept.rank is not None
        return (kept.iou >= 0.5) & (kept.rank < RANK_LIMITS[name])[:, None]

    test_draw, val_draw = np.random.default_rng(0).spawn(2)
    errors = []
    for _ in range(1000):
        drawn, val = test_draw.integers(80, size=80), val_draw.integers(60, size=60 if select == "val" else 0)
        reported = hits(TEST, condition)[drawn]
        chosen_by = {
            "fixed": np.array([[False, True, False]]),
            "val": hits(VAL, "gt_known")[val],
            "oracle": hits(TEST, "gt_known")[drawn],
        }[select]
        counts = chosen_by.sum(axis=0)
        is_best = counts == counts.max()
        # Of three thresholds the middle one is chosen where all are best, else the first of the best.
        best = 1 if is_best.all() else int(is_best.argmax())
        errors.append(1 - reported[:, best].sum() / 80)
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.parametrize("select", ["fixed", "val", "oracle"])
def test_equals_a_plain_bootstrap(select: str) -> None:
    found = error_intervals(
        TEST, VAL if select == "val" else None, cam_threshold=None if select == "oracle" else 0.2, iou_threshold=0.5
    )
    assert found.keys() == {"gt_known_error", "top1_error", "top5_error", "gt_known_error_at_best"}
    for condition in CONDITIONS:
        assert found[f"{condition}_error"] == pytest.approx(plain(condition, select))
    assert found["gt_known_error_at_best"] == pytest.approx(plain("gt_known", "oracle"))


def test_every_error_lies_in_its_interval() -> None:
    found = error_intervals(TEST, None, cam_threshold=0.2, iou_threshold=0.5)
    for condition in CONDITIONS:
        low, high = found[f"{condition}_error"]
        assert low <= error(TEST, condition, 1, 0.5) <= high
        assert 0.01 < high - low < 0.25


def test_fixed_intervals_are_those_of_each_threshold_alone() -> None:
    swept = fixed_intervals(TEST, 0.5)
    assert swept.keys() == set(CONDITIONS)
    for at, cam_threshold in enumerate(THRESHOLDS):
        alone = error_intervals(TEST, None, cam_threshold=cam_threshold, iou_threshold=0.5)
        for condition in CONDITIONS:
            assert swept[condition][at] == pytest.approx(alone[f"{condition}_error"])


def test_without_a_classifier_only_gt_known_has_intervals() -> None:
    unranked = PerImage(TEST.image_ids, TEST.target, None, TEST.iou, TEST.cam_thresholds)
    found = error_intervals(unranked, None, cam_threshold=0.2, iou_threshold=0.5)
    assert found.keys() == {"gt_known_error", "gt_known_error_at_best"}
    assert fixed_intervals(unranked, 0.5) == {"gt_known": fixed_intervals(TEST, 0.5)["gt_known"]}
