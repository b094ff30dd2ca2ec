"""What callbacks need of the module that is evaluated."""

from typing import Protocol

from torch import Tensor


class Localizer(Protocol):
    """A module that turns score maps into boxes, such as the classifier."""

    def sweep(self, score_maps: Tensor) -> Tensor:
        """Return the (B,T,4) boxes of (B,H,W) score maps at every threshold."""

    @property
    def cam_thresholds(self) -> list[float]:
        """(T,) ascending."""

    def test_threshold(self) -> float:
        """Return the threshold that test errors are reported at."""
