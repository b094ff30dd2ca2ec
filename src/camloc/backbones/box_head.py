"""A head that regresses a box for each class, on top of any backbone: the fully supervised comparison."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from camloc.backbones.contract import Backbone, Extended, Features, count_maps

NUM_MAPS, GRID, HIDDEN = 128, 6, 512
"""Maps after the 1x1 convolution, cells on each side of the grid (those of AlexNet's last pooling), hidden units."""
CENTRED = (0.25, 0.25, 0.75, 0.75)
"""The box that an untrained head predicts on average, fractions of the sides."""


class BoxHead(nn.Module):
    r"""Feature maps to one box for each class.

    .. math:: b = W_2\,relu(W_1\,pool_{6 \times 6}(relu(W_0 f)) + c_1) + c_2 \in R^{C \times 4}

    Class-specific regression from a grid of the last maps through fully connected layers, after OverFeat (Sermanet et
    al., ICLR 2014, Sec. 4), whose two hidden layers have 4096 and 1024 units. Here a 1x1 convolution of 128 maps comes
    first and one layer of 512 is left, so that the head stays small behind any backbone. The grid keeps where things
    are, which global pooling would lose.

    Args:
        num_maps: K.
        num_classes: C.

    Example:
        >>> BoxHead(num_maps=8, num_classes=5)(torch.zeros(2, 8, 13, 9)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(self, num_maps: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_maps, NUM_MAPS, 1)
        self.hidden = nn.Linear(NUM_MAPS * GRID * GRID, HIDDEN)
        self.boxes = nn.Linear(HIDDEN, num_classes * 4)
        for layer in (self.conv, self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # both have one
        nn.init.normal_(self.boxes.weight, std=0.01)
        with torch.no_grad():
            self.boxes.bias.copy_(torch.tensor(CENTRED).repeat(num_classes))

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Return (B,C,4) boxes of (B,K,h,w) feature maps, xyxy fractions of the input's sides."""
        grid = grid_average(self.conv(feature_maps).relu(), GRID)
        hidden = self.hidden(grid.flatten(1)).relu()
        with torch.autocast(hidden.device.type, enabled=False):  # half precision would round to a pixel of 224
            boxes: Tensor = self.boxes(hidden.float())
        return boxes.view(len(boxes), -1, 4)


class BoxRegressor(Extended):
    """A backbone as it is, with a :class:`BoxHead` on its feature maps.

    Args:
        backbone: Any; it is run once on an empty image to count its maps.

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> regressor = BoxRegressor(backbone)
        >>> features = regressor.forward_features(torch.zeros(2, 3, 32, 48))
        >>> regressor.forward_head(features).shape, regressor.forward_boxes(features).shape
        (torch.Size([2, 5]), torch.Size([2, 5, 4]))
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.box_head = BoxHead(count_maps(backbone), backbone.num_classes)

    def forward_boxes(self, features: Features) -> Tensor:
        """Return (B,C,4) xyxy boxes, fractions of the input's sides; neither ordered nor cut at its edges."""
        boxes: Tensor = self.box_head(features.maps)
        return boxes

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the backbone's new layers and of the box head."""
        yield from super().new_layers()
        yield from self.box_head.parameters()


def grid_average(maps: Tensor, cells: int) -> Tensor:
    """Average (B,K,h,w) maps over a grid as ``adaptive_avg_pool2d`` does, with a backward that CUDA repeats exactly.

    Example:
        >>> grid_average(torch.arange(8.0).view(1, 1, 2, 4), 2).tolist()
        [[[[0.5, 2.5], [4.5, 6.5]]]]
    """
    rows, columns = (_shares(length, cells).to(maps) for length in maps.shape[-2:])
    return rows @ maps @ columns.T


def _shares(length: int, cells: int) -> Tensor:
    """Return (cells,length): what each position adds to the average of each cell, which may overlap."""
    cell, position = torch.arange(cells)[:, None], torch.arange(length)
    inside = (position >= cell * length // cells) & (position < ((cell + 1) * length + cells - 1) // cells)
    return inside / inside.sum(dim=1, keepdim=True)
