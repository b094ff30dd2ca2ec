"""A network as one graph: images in; probabilities, the most probable classes and their maps out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.data.images.integer_resize import integer_resize
from camloc.predictors.contract import ScoreMapFunction
from camloc.predictors.network import NetworkPredictor


class GraphOutputs(NamedTuple):
    """What a graph gives for B images, by the names that the outputs have in a file."""

    probabilities: Tensor
    """(B,C)."""
    classes: Tensor
    """(B,K+M) int64: the K most probable ones, the first one first, then the M that were given."""
    score_maps: Tensor
    """(B,K+M,S,S) in [0,1], of these classes."""
    logits: Tensor
    """(B,C)."""
    cams: Tensor
    """(B,K+M,h,w) raw and signed."""


class Exportable(nn.Module):
    """What of a run can stand in a graph: all but the box rule.

    Args:
        predictor: Its attribution is ``cam``: one pass, without gradients.
        score_map: Raw CAMs to score maps.
        input_size: Side of the square network input, pixels.
        top_k: Classes that are mapped, the most probable ones of each image.
        several_labels: Whether probabilities are a sigmoid's, else a softmax's.

    Raises:
        ValueError: If the network has another attribution, or no ``class_weights``, or fewer than ``top_k`` classes.
    """

    def __init__(
        self,
        predictor: NetworkPredictor,
        score_map: ScoreMapFunction,
        input_size: int,
        top_k: int = 1,
        *,
        several_labels: bool = False,
    ) -> None:
        super().__init__()
        attribution, backbone = predictor.attribution, predictor.backbone
        if getattr(attribution, "func", attribution) is not cam or backbone.class_weights is None:
            raise ValueError(
                "only attribution=cam with views=none on a network that ends in global pooling and one linear layer "
                "can be exported: other methods need gradients or several passes"
            )
        if not 1 <= top_k <= backbone.num_classes:
            raise ValueError(f"top_k={top_k} must be at least 1 and at most {backbone.num_classes}, the classes")
        self.predictor, self.top_k, self.several_labels = predictor, top_k, several_labels
        self.size = (input_size, input_size)
        self._score_map = score_map

    def forward(self, images: Tensor, more_classes: Tensor | None = None) -> tuple[Tensor, ...]:
        """Localize without boxes.

        Args:
            images: (B,3,H,W) uint8, the window of each image that the network is shown; resized and normalized here.
            more_classes: (B,M) int64, mapped as well; null for none.

        Returns:
            The fields of :class:`GraphOutputs` as a plain tuple, so that a program loads where there is no camloc.
        """
        backbone = self.predictor.backbone
        features = backbone.forward_features(self.predictor.normalize(integer_resize(images, self.size)))
        logits = backbone.forward_head(features)
        probabilities = logits.sigmoid() if self.several_labels else logits.softmax(dim=1)
        classes = probabilities.topk(self.top_k, dim=1).indices
        if more_classes is not None:
            # The sum repeats the default of an ONNX file, (1,0), for each image.
            classes = torch.cat([classes, more_classes + 0 * classes[:, :1]], dim=1)
        weights: Tensor = backbone.class_weights  # type: ignore[assignment] # refused above
        # As camloc.attribution.cam, whose rounds over pairs a graph cannot have.
        cams = torch.einsum("bck,bkhw->bchw", weights[classes], features.maps)
        score_maps = self._score_map(cams.flatten(0, 1), self.size).view(*classes.shape, *self.size)
        return tuple(GraphOutputs(probabilities, classes, score_maps, logits, cams))
