"""Attention-based drop layers: the most active part of the maps is hidden now and then, so that others must serve."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone, Extended, Features, empty_image
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import pooled_maps, refuse_several_labels

LAST_MAPS = "maps"
"""Name of the network's last feature maps among the layers."""


class AttentionDrop(nn.Module):
    r"""Multiply maps by a drop mask or by an importance map, in training alone.

    .. math:: A = \frac{1}{K} \sum_k f_k \qquad f'_k = f_k \odot \begin{cases}
       [A < \gamma \max A] & \text{with probability } p \\ \sigma(A) & \text{otherwise}\end{cases}

    (Choe and Shim, "Attention-based Dropout Layer", CVPR 2019, Sec. 3). One draw serves a whole batch, and gradients
    pass through the importance map, as in the released code.

    Args:
        threshold: :math:`\gamma`, a share of the attention's maximum.
        drop_rate: p.

    Example:
        >>> drop = AttentionDrop(threshold=0.8, drop_rate=1.0)
        >>> drop(torch.tensor([[[[1.0, 2.0, 5.0]]]])).tolist(), drop.eval()(torch.ones(1, 1, 1, 2)).tolist()
        ([[[[1.0, 2.0, 0.0]]]], [[[[1.0, 1.0]]]])
    """

    def __init__(self, threshold: float, drop_rate: float) -> None:
        super().__init__()
        self.threshold, self.drop_rate = threshold, drop_rate

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B,K,h,w) maps, in evaluation as they are."""
        if not self.training:
            return maps
        attention = maps.float().mean(dim=1, keepdim=True)
        kept = (attention < self.threshold * attention.amax(dim=(2, 3), keepdim=True)).float()
        drops = torch.rand((), device=maps.device) < self.drop_rate
        return maps * torch.where(drops, kept, attention.sigmoid()).to(maps.dtype)


class DroppingBackbone(Extended):
    """A backbone with an :class:`AttentionDrop` after some of its layers; it has no parameters of its own.

    Args:
        backbone: Changed in place: each of the layers is followed by one.
        layers: Names of its modules, such as ``trunk.layer3``, or ``maps`` for the last feature maps.
        threshold: See :class:`AttentionDrop`.
        drop_rate: See :class:`AttentionDrop`.

    Raises:
        ValueError: There is no layer of such a name, or it makes no maps.
    """

    def __init__(self, backbone: Backbone, layers: Sequence[str], threshold: float, drop_rate: float) -> None:
        super().__init__(backbone)
        known = dict(self.backbone.named_modules())  # type: ignore[attr-defined] # a module
        unknown = [name for name in layers if name != LAST_MAPS and name not in known]
        if unknown or not layers:
            named = [name for name in known if name.count(".") == 1 and not name.startswith("head.")]
            raise ValueError(
                f"objective.layers={list(layers)}: give names of its layers, such as {', '.join(named[-5:])}, "
                f"or {LAST_MAPS} for the last feature maps"
            )
        inner = {name: known[name] for name in layers if name != LAST_MAPS}
        if others := [name for name, makes_maps in self._make_maps(inner).items() if not makes_maps]:
            raise ValueError(f"objective.layers={list(layers)}: {', '.join(others)} makes no maps; name other layers")
        for name, layer in inner.items():
            parent, _, last = name.rpartition(".")
            setattr(known[parent], last, nn.Sequential(layer, AttentionDrop(threshold, drop_rate)))
        self.drop = AttentionDrop(threshold, drop_rate) if LAST_MAPS in layers else nn.Identity()

    def _make_maps(self, layers: Mapping[str, nn.Module]) -> dict[str, bool]:
        # Of each layer, whether it gives (B,K,h,w) before the head.
        found: dict[nn.Module, bool] = {}

        def note(layer: nn.Module, _: object, output: object) -> None:
            found[layer] = isinstance(output, Tensor) and output.ndim == len("BKhw")

        hooks = [layer.register_forward_hook(note) for layer in layers.values()]
        if hooks:
            was_training = self.training
            with torch.no_grad():
                self.eval().backbone.forward_features(empty_image(self.backbone))
            self.train(was_training)
        for hook in hooks:
            hook.remove()
        return {name: found.get(layer, False) for name, layer in layers.items()}

    def forward_features(self, images: Tensor) -> Features:
        """Return the features of (B,3,H,W) normalized images, partly hidden in training."""
        features = self.backbone.forward_features(images)
        return features._replace(maps=self.drop(features.maps))


class AttentionDropout(nn.Module):
    """Softmax cross entropy of a network with attention-based drop layers, see :class:`AttentionDrop`.

    Args:
        class_counts: C numbers of training images; not used.
        threshold: Where attention is dropped, a share of its maximum.
        drop_rate: Probability of the drop mask rather than the importance map.
        layers: After which layers; null: those of Choe et al. (CVPR 2020) for vgg_gap, resnet50_gap and
            inception_v3_gap, and the last feature maps for any other network.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> AttentionDropout.extend(backbone).drop.threshold
        0.9
    """

    changes_images: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        threshold: Annotated[float, Ge(0), Le(1)] = 0.9,
        drop_rate: Annotated[float, Ge(0), Le(1)] = 0.75,
        layers: Sequence[str] | None = None,  # noqa: ARG002 - for extend
    ) -> None:
        super().__init__()
        for name, value in (("threshold", threshold), ("drop_rate", drop_rate)):
            if not 0 <= value <= 1:
                raise ValueError(f"objective.{name} must lie in [0, 1], found {value}")

    @classmethod
    def extend(
        cls, backbone: Backbone, threshold: float = 0.9, drop_rate: float = 0.75, layers: Sequence[str] | None = None
    ) -> DroppingBackbone:
        """Return the network with drop layers.

        Raises:
            ValueError: The network does not end in global average pooling, or has no layer of such a name.
        """
        pooled_maps(backbone, "adl")
        usual = getattr(backbone, "method_layers", {}).get("adl", (LAST_MAPS,))
        return DroppingBackbone(backbone, usual if layers is None else layers, threshold, drop_rate)

    def forward(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the cross entropy of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "adl")
        logits = backbone(batch.images)
        return Losses({"cross_entropy": F.cross_entropy(logits, batch.target)}, logits)
