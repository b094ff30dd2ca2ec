"""The contract of box rules: score maps in, one box per CAM threshold out."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class BoxRule(Protocol):
    """How a score map becomes a box, such as :func:`~camloc.localization.threshold_sweep.largest_component_boxes`.

    A rule sees each map on its own: its boxes do not depend on the other maps of the batch.
    """

    def __call__(self, score_maps: Tensor, cam_thresholds: Sequence[float], /) -> Tensor:
        """Return the boxes of score maps.

        Args:
            score_maps: (P,H,W) in [0,1], on the CPU.
            cam_thresholds: (T,) ascending fractions of each map's maximum.

        Returns:
            (P,T,4) half-open xyxy pixels of the maps, on the CPU; all 0 where there is no box.
        """
