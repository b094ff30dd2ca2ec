"""What callbacks need of the module that is evaluated."""

from typing import Any, Protocol

from torch import Tensor

from camloc.data.loading.sample import Prediction, TopPredictions


class Localizer(Protocol):
    """A module that turns score maps into boxes, such as the classifier."""

    def sweep(self, score_maps: Tensor) -> Tensor:
        """Return the (B,T,4) boxes of (B,H,W) score maps at every threshold."""

    @property
    def cam_thresholds(self) -> list[float]:
        """(T,) ascending."""

    def test_threshold(self) -> float:
        """Return the threshold that test errors are reported at."""

    def prediction(self, batch: Any, prediction: Prediction) -> TopPredictions:  # noqa: ANN401 - each module has its own batch
        """Return the classes with the largest logits, five at most, with the map of each."""

    def score_map(self, cam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (B,H,W) score maps of (B,h,w) raw ones."""

    def image_counts(self) -> dict[str, Tensor]:
        """Return what each image of the last test batch added to the protocols beside."""
