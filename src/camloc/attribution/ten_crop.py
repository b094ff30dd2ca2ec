"""Ten crops: four corners and the centre of an enlarged image and their mirror images, maps pasted back."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Gt, Le
from torch import Tensor
from torch.nn import functional as F

from camloc.attribution.contract import Attributed, Attribution, Choose
from camloc.attribution.views import attribute_views
from camloc.backbones.contract import Backbone

Merge = Literal["paper", "released"]
CROP_SHARE = 224 / 256


@dataclass(frozen=True)
class TenCrop:
    r"""Average logits over ten crops, and paste the crops' maps back where they were cut.

    .. math::
        paper: M(x, y) = \frac{\sum_v m_v(x, y)}{|\{v: (x, y) \in v\}|} \qquad
        released: M(x, y) = \sum_v |m_v(x, y)|

    over the ten views v that show the pixel, each map :math:`m_v` upsampled to its crop, those of mirror images turned
    back (Krizhevsky et al., NIPS 2012, Sec. 4.1, for the crops). The average is what Zhou et al. (CVPR 2016) describe.
    Their release sums absolute values and does not divide, so the middle, which all crops show, weighs more than the
    corners; it also averages probabilities where logits are averaged here.

    Args:
        attribution: Maps the pairs in every crop.
        crop_share: Side of a crop, a fraction of the image's side; over a half, so that the crops cover the image.
        merge: ``paper`` or ``released``.

    Raises:
        ValueError: An option lies outside its range.

    Example:
        >>> from camloc.attribution.cam import cam
        >>> TenCrop(cam).image_size(224), TenCrop(cam, crop_share=227 / 256).image_size(227)
        (256, 256)
    """

    attribution: Attribution
    crop_share: Annotated[float, Gt(0.5), Le(1)] = CROP_SHARE
    merge: Merge = "paper"

    def __post_init__(self) -> None:
        if not 0.5 < self.crop_share <= 1:  # noqa: PLR2004 - a half
            raise ValueError(f"views.crop_share is a fraction in (0.5, 1], found {self.crop_share}")
        if self.merge not in get_args(Merge):
            raise ValueError(f"views.merge must be one of {get_args(Merge)}, found {self.merge!r}")

    def image_size(self, input_size: int) -> int:
        """Return the side of the image whose crops have the side ``input_size``, pixels."""
        return round(input_size / self.crop_share)

    def __call__(self, backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
        """Map pairs at the size of the images, see :class:`camloc.attribution.contract.Attribution`."""
        height, width = images.shape[2:]
        size = round(height * self.crop_share), round(width * self.crop_share)
        places = _places((height, width), size)
        crops = [images[..., rows, columns] for rows, columns in places]
        logits, pairs, cams = attribute_views(
            self.attribution, backbone, [*crops, *(crop.flip(dims=[3]) for crop in crops)], choose
        )
        merged = cams.new_zeros(cams.shape[1], height, width)
        views = cams.new_zeros(height, width)
        five = len(places)
        for (rows, columns), straight, mirrored in zip(places, cams[:five], cams[five:], strict=True):
            for cam in (straight, mirrored.flip(dims=[2])):
                pasted = F.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)[:, 0]
                merged[:, rows, columns] += pasted.abs() if self.merge == "released" else pasted
                views[rows, columns] += 1
        return Attributed(logits, pairs, merged if self.merge == "released" else merged / views)


def _places(image: tuple[int, int], crop: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return rows and columns of the four corners and the centre."""
    (height, width), (rows, columns) = image, crop
    bottom, right = height - rows, width - columns
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [(slice(top, top + rows), slice(left, left + columns)) for top, left in corners]
