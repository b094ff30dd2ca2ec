"""What the released networks of Zhou et al. share: Caffe's input, layers and names, and the weights of the release.

Source: https://github.com/zhoubolei/CAM, the ``deploy_*.prototxt`` in its ``models/``. The networks differ from the
paper's text and from torchvision's: grouped convolutions, response normalization, pooling that rounds up, and pixels
from 0 to 255 in the order blue, green, red.
"""

from torch import Tensor, nn

from camloc.backbones.contract import InputSpec
from camloc.backbones.gap import GapBackbone, conv_relu
from camloc.backbones.weights import find_file, read_state_dict, refuse_misfits

MEAN = (123, 117, 104)
"""Of red, green and blue, in 0 to 255; the ``mean_value`` of the release's ``train_val_googlenetCAM.prototxt``, as BGR.

The release's demo subtracts Caffe's mean image of ImageNet instead (``prepare_image.m``).
"""


def released_input(size: int) -> InputSpec:
    """Return the input of the released networks: pixels in 0 to 255 minus the mean of their channel.

    Example:
        >>> spec = released_input(224)
        >>> [round((1 - mean) / std) for mean, std in zip(spec.mean, spec.std)]  # of a white pixel
        [132, 138, 151]
    """
    return InputSpec(size, mean=tuple(value / 255 for value in MEAN), std=(1 / 255,) * 3)


class RgbToBgr(nn.Module):
    """Reverse the order of the channels; Caffe's networks were trained on blue, green, red."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,3,H,W) images in the other order."""
        return images.flip(1)


def named_conv(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> list[tuple[str, nn.Module]]:
    """List a convolution under its name in the release, and its ReLU.

    Example:
        >>> [name for name, _ in named_conv("conv1", 3, 96, 11, stride=4)]
        ['conv1', 'conv1_relu']
    """
    layers = conv_relu(in_channels, out_channels, kernel_size, stride=stride, padding=padding, groups=groups)
    return list(zip((name, f"{name}_relu"), layers, strict=True))


def max_pool(kernel_size: int, stride: int, padding: int = 0) -> nn.MaxPool2d:
    """Build Caffe's max pooling: a window that begins within the map counts, even if it reaches beyond it."""
    return nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=True)


def response_norm() -> nn.LocalResponseNorm:
    r"""Build the response normalization of AlexNet and GoogLeNet, over n = 5 neighbouring maps.

    .. math:: y_k = x_k \Big/ \Big(1 + \frac{10^{-4}}{n} \sum_{|j - k| \le 2} x_j^2\Big)^{0.75}

    Caffe and torch both divide alpha by n, unlike Krizhevsky et al. (NIPS 2012, Sec. 3.3), who have k = 2 as well.
    """
    return nn.LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)


def load_released(backbone: GapBackbone, weights: str, *, classifier: str, published: str) -> None:
    """Fill a network with released weights: every blob of the file goes into one layer, and every layer is filled.

    The layers of ``trunk`` and ``extra`` have the names of the release, and what is inside a module follows a slash:
    ``trunk.inception_3a.1x1`` is the release's ``inception_3a/1x1``.

    Args:
        backbone: Filled in place.
        weights: A ``.caffemodel``, or a ``.safetensors`` or ``.pth`` file with its tensors by the same names.
        classifier: Name of the linear layer in the release.
        published: Name of the released file, for messages.

    Raises:
        ValueError: The file cannot be read, or has a missing, an unknown or a misshapen blob.
        FileNotFoundError: There is no such file.
    """
    file = find_file(weights, f"the release's {published}")
    entries = read_state_dict(file)
    wanted = {_released_name(key, classifier): value for key, value in backbone.state_dict().items()}
    entries = {
        key: _without_legacy_axes(value, wanted[key].ndim) if key in wanted else value for key, value in entries.items()
    }
    fix = f"give the release's {published}, and images of ImageNet's 1000 classes"
    refuse_misfits(file, entries, wanted, fix=fix)
    backbone.load_state_dict({key: entries[_released_name(key, classifier)] for key in backbone.state_dict()})


def _released_name(key: str, classifier: str) -> str:
    layer, _, kind = key.rpartition(".")
    if layer == "head.linear":
        return f"{classifier}.{kind}"
    return f"{layer.partition('.')[2].replace('.', '/')}.{kind}"  # without "trunk." or "extra."


def _without_legacy_axes(blob: Tensor, ndim: int) -> Tensor:
    """Drop the leading axes of size 1 that files from before 2015 fill up to four with."""
    while blob.ndim > ndim and blob.shape[0] == 1:
        blob = blob[0]
    return blob
