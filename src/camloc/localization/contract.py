"""The contract of box rules: score maps in; one box per CAM threshold out, or one box per map.

What a rule takes says of which kind it is, by the names of its parameters: ``cam_thresholds`` for one that cuts score
maps at thresholds; ``images`` for one that reads the images as well.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor


class BoxRule(Protocol):
    """How a score map becomes a box, such as :func:`~camloc.localization.threshold_sweep.largest_component_boxes`.

    A rule sees each map on its own: its boxes do not depend on the other maps of the batch.
    """

    def __call__(self, score_maps: Tensor, cam_thresholds: Sequence[float]) -> Tensor:
        """Return the boxes of score maps.

        Args:
            score_maps: (P,H,W) in [0,1], on the CPU.
            cam_thresholds: (T,) ascending fractions of each map's maximum.

        Returns:
            (P,T,4) half-open xyxy pixels of the maps, on the CPU; all 0 where there is no box.
        """


UncutBoxRule = Callable[..., Tensor]
"""A rule without CAM thresholds, such as :func:`~camloc.localization.released_boxes.released_boxes`.

Called with ``score_maps`` as above and, where it has a parameter of that name, ``images=``: (P,3,H,W) uint8, each map's
image at the map's size, on the CPU. Returns (P,4) half-open xyxy pixels of the maps, on the CPU; all 0 for no box.
"""


def cuts_at_thresholds(rule: Callable[..., Any]) -> bool:
    """Tell whether a rule is a :class:`BoxRule`, not an :data:`UncutBoxRule`.

    Example:
        >>> from camloc.localization.threshold_sweep import largest_component_boxes
        >>> cuts_at_thresholds(largest_component_boxes), cuts_at_thresholds(lambda score_maps: score_maps)
        (True, False)
    """
    return "cam_thresholds" in inspect.signature(rule).parameters


def needs_images(rule: Callable[..., Any]) -> bool:
    """Tell whether a rule reads the images.

    Example:
        >>> needs_images(lambda score_maps, images: score_maps), needs_images(lambda score_maps: score_maps)
        (True, False)
    """
    return "images" in inspect.signature(rule).parameters
