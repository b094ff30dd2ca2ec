"""The contract of predictors: batches in, predictions out, wherever they come from."""

from typing import Any, Protocol

from torch import Tensor

from camloc.records import Prediction, Truth


class Batch(Protocol):
    """B inputs with what their predictions are measured against."""

    @property
    def truth(self) -> Truth:
        """What the predictions are measured against."""


class ScoreMapFunction(Protocol):
    """Raw CAMs to score maps, see ``camloc.attribution.score_map``."""

    def __call__(self, cam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (P,H,W) in [0,1] for a (P,h,w) cam."""


class Predictor(Protocol):
    """A network, saved maps, ready-made maps or a submission file."""

    def predict(self, batch: Any, *, num_ranked: int = 0) -> Prediction:  # noqa: ANN401 - each source has its own batch
        """Predict the true classes' pairs of a batch, and the ``num_ranked`` most likely classes where wanted."""
