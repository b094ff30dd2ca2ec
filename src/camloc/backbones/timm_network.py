"""Any network of timm, with its own weights, normalization and input size."""

import math
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, TypeAlias

import torch
from annotated_types import Ge
from torch import Tensor, nn

from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.stages import last_of_each_size, maps_of_layers
from camloc.backbones.weights import find_file, read_state_dict

Network: TypeAlias = Any
"""A network of timm; they share methods, but no type."""

PRETRAINED = "pretrained"
OUTPUT_STRIDES = (8, 16, 32)


def timm_network(
    name: str,
    num_classes: int,
    weights: str | None = None,
    output_stride: int | None = None,
    input_size: Annotated[int, Ge(1)] | None = None,
) -> "TimmBackbone":
    """Build a network of timm with a classifier for ``num_classes``.

    Args:
        name: As timm lists it, with or without the tag of its weights: ``resnet50``, ``resnet50.a1_in1k``.
        num_classes: C. A classifier that comes with ``weights`` is kept if it has C classes, otherwise it is
            replaced by one with random weights.
        weights: ``pretrained`` downloads timm's published weights; the path of a ``.pth`` or ``.safetensors``
            file with weights of this network, for any number of classes; None for random weights.
        output_stride: Pixels of the image per pixel of the maps, 32, 16 or 8: strides are replaced by
            dilation, which makes finer maps with the same weights. None keeps the network's own.
        input_size: Side of the images, pixels. Networks that are built for one size, as most transformers,
            accept only this one. None is the size of timm's weights.

    Raises:
        ValueError: timm is not installed, does not know ``name``, or cannot build the network with these
            options; ``weights`` do not fit.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> backbone = timm_network("resnet18", num_classes=10, output_stride=16)
        >>> backbone.forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 512, 4, 6])
    """
    try:
        import timm  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ValueError("backbone=timm needs the package timm: pip install 'camloc[timm]'") from error
    _check_name(name)
    if output_stride not in (None, *OUTPUT_STRIDES):
        raise ValueError(f"backbone.output_stride={output_stride}: choose from 32, 16, 8 or null")
    published: Any = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"output_stride": output_stride}  # timm ignores options that are None
    if input_size is not None and published.fixed_input_size:
        options["img_size"] = input_size
    spec = InputSpec(input_size or published.input_size[-1], tuple(published.mean), tuple(published.std))
    try:
        if weights is None:
            network = timm.create_model(name, num_classes=num_classes, **options)
        elif weights == PRETRAINED:
            network = _download(name, num_classes, options)
        else:
            network = _load(name, num_classes, find_file(weights, PRETRAINED), options)
    except (TypeError, AssertionError) as error:  # an option that this network does not have
        if output_stride is None:
            raise
        raise ValueError(
            f"backbone.output_stride={output_stride}: timm's {name} has no such option; set null"
        ) from error
    return TimmBackbone(network, num_classes, spec, output_stride)


class TimmBackbone(nn.Module):
    """A network of timm in two halves.

    The maps are what ``forward_features`` of timm returns: of a convolutional network the last maps, of a
    transformer its patch tokens laid out as a map, with its class and register tokens, (B,P,K), in ``others``.
    Where the classifier reads the class token alone, its logits do not depend on the maps, ``reads_maps`` is false,
    and a gradient in them is refused.

    Args:
        network: Built by ``timm.create_model``.
        num_classes: C.
        input_spec: What its weights expect of images. One image of this size is passed through it here.
        output_stride: The output stride that it was built for, which is checked; None for its own.

    Raises:
        ValueError: The maps do not have this output stride, or their layout is unknown.
    """

    def __init__(
        self, network: Network, num_classes: int, input_spec: InputSpec, output_stride: int | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes
        self.input_spec = input_spec
        self.is_fixed_size = bool(self.network.pretrained_cfg["fixed_input_size"])
        size = (input_spec.size, input_spec.size)
        was_training = network.training
        self.eval()
        with torch.no_grad():
            output = self.network.forward_features(torch.zeros(1, input_spec.channels, *size))
        self.layout = _layout(self.network, output, size)
        features = self._split(output, size)
        found = features.maps.shape[-1]
        if output_stride is not None and found != math.ceil(input_spec.size / output_stride):
            raise ValueError(
                f"backbone.output_stride={output_stride}: the maps of timm's {_name(network)} stay {found} pixels wide "
                f"for images of {input_spec.size}; set null"
            )
        with torch.no_grad():
            self.reads_maps = self._reads_maps(features)
        self.is_gap = self._is_gap(features)
        self.train(was_training)

    def forward_features(self, images: Tensor) -> Features:
        """Return the maps and further tokens of (B,3,H,W) normalized images.

        Raises:
            ValueError: The network is built for images of another size.
        """
        size = (images.shape[-2], images.shape[-1])
        expected = self.input_spec.size
        if self.is_fixed_size and size != (expected, expected):
            raise ValueError(
                f"timm's {_name(self.network)} is built for images of {expected}x{expected} pixels, these have "
                f"{size[0]}x{size[1]}; set backbone.input_size to the size of the data module's images, which must "
                "be square"
            )
        return self._split(self.network.forward_features(images), size)

    def forward_head(self, features: Features) -> Tensor:
        """Return the (B,C) logits of what ``forward_features`` returned."""
        if not self.reads_maps:
            features = features._replace(maps=features.maps.detach())  # rather no gradient than one of zeros
        logits: Tensor = self.network.forward_head(self._join(features))
        return logits

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Return the last maps of each size, see :class:`camloc.backbones.contract.Staged`.

        Raises:
            ValueError: The network does not compute maps, but tokens or maps with the channels last.
        """
        if self.layout != "NCHW":
            raise ValueError(
                f"maps of several stages are taken of convolutional networks; timm's {_name(self.network)} computes "
                f"{self.layout}. Use the last maps alone"
            )
        return last_of_each_size(maps_of_layers(self.network, images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor | None:
        """(C,K) weight of every feature map for every class; None if the head is more than pooling and one layer."""
        if not self.is_gap:
            return None
        weight: Tensor = self.network.get_classifier().weight
        return weight.flatten(1)  # a 1x1 convolution's is (C,K,1,1)

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the classifier, and of both where a network is distilled."""
        classifiers = self.network.get_classifier()
        for classifier in classifiers if isinstance(classifiers, tuple) else (classifiers,):
            yield from classifier.parameters()

    def _split(self, output: Tensor, size: tuple[int, int]) -> Features:
        # What timm's forward_features returns for images of this (height, width).
        if self.layout == "NCHW":
            return Features(output)
        if self.layout == "NHWC":
            return Features(output.permute(0, 3, 1, 2))
        count = getattr(self.network, "num_prefix_tokens", 0)
        grid = self.network.patch_embed.dynamic_feat_size(size)
        maps = output[:, count:].transpose(1, 2).reshape(len(output), -1, *grid)
        return Features(maps, (output[:, :count],) if count else ())

    def _join(self, features: Features) -> Tensor:
        # The inverse: what timm's forward_head takes.
        if self.layout == "NCHW":
            return features.maps
        if self.layout == "NHWC":
            return features.maps.permute(0, 2, 3, 1)
        return torch.cat([*features.others, features.maps.flatten(2).transpose(1, 2)], dim=1)

    def _reads_maps(self, features: Features) -> bool:
        # The classifier of most transformers reads the class token alone.
        if not features.others:
            return True
        maps = torch.randn(features.maps.shape, generator=torch.Generator().manual_seed(0))
        both = (features, features._replace(maps=maps))
        return not torch.equal(*[self.network.forward_head(self._join(one), pre_logits=True) for one in both])

    def _is_gap(self, features: Features) -> bool:
        # timm's heads have too many shapes to tell from their types, so random maps are passed through.
        generator = torch.Generator().manual_seed(0)
        maps, *others = (torch.randn(tensor.shape, generator=generator) for tensor in (features.maps, *features.others))
        probe = self._join(Features(maps, tuple(others)))
        classifier = self.network.get_classifier()
        with torch.enable_grad():
            pooled: Tensor = self.network.forward_head(probe, pre_logits=True)
        # A batch norm that has not been trained changes nothing yet; its parameters give it away.
        if pooled.requires_grad or not isinstance(classifier, nn.Linear | nn.Conv2d):
            return False
        mean = maps.mean(dim=(2, 3))
        if pooled.numel() != mean.numel() or not torch.allclose(pooled.flatten(1), mean, rtol=1e-4, atol=1e-5):
            return False
        with torch.no_grad():
            logits = self.network.forward_head(probe)
            expected = nn.functional.linear(mean, classifier.weight.flatten(1), classifier.bias)
        return torch.allclose(logits, expected, rtol=1e-4, atol=1e-5)


def _layout(network: Network, output: object, size: tuple[int, int]) -> str:
    match output:
        case Tensor(ndim=4):
            layout: str = getattr(network, "output_fmt", "NCHW")
            return layout
        case Tensor(ndim=3) if hasattr(getattr(network, "patch_embed", None), "dynamic_feat_size"):
            height, width = network.patch_embed.dynamic_feat_size(size)
            if output.shape[1] == getattr(network, "num_prefix_tokens", 0) + height * width:
                return "NLC"
    raise ValueError(
        f"backbone.name={_name(network)}: camloc cannot lay out what this network returns as a map; choose a "
        "convolutional network or a plain vision transformer"
    )


def _name(network: Network) -> str:
    return str(network.pretrained_cfg["architecture"])


def _check_name(name: str) -> None:
    import timm  # noqa: PLC0415 - an extra, and slow to import

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models())
        raise ValueError(
            f"backbone.name={name}: timm {timm.__version__} has no such network"
            + (f"; did you mean {', '.join(near)}?" if near else "")
        )
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise ValueError(
            f"backbone.name={name}: timm {timm.__version__} has no weights of this tag; give {architecture} alone"
            + (f", or {', '.join(get_close_matches(name, tagged, cutoff=0))}" if tagged else "")
        )


def _download(name: str, num_classes: int, options: dict[str, Any]) -> Network:
    import timm  # noqa: PLC0415 - an extra, and slow to import

    published: Any = timm.get_pretrained_cfg(name)
    if not published.has_weights:
        raise ValueError(
            f"backbone.weights={PRETRAINED}: timm publishes no weights of {name}; give the path of a file, or null"
        )
    try:
        return timm.create_model(name, pretrained=True, num_classes=num_classes, **options)
    except (TypeError, AssertionError):  # wrong options
        raise
    except Exception as error:  # no network, a broken response, a full disk: the hub's client has many
        source = f"https://huggingface.co/{published.hf_hub_id}" if published.hf_hub_id else published.url
        raise FileNotFoundError(
            f"backbone.weights={PRETRAINED}: could not download {source} ({type(error).__name__}); download its "
            "model.safetensors some other way and give backbone.weights=/path/to/model.safetensors"
        ) from error


def _load(name: str, num_classes: int, file: Path, options: dict[str, Any]) -> Network:
    import timm  # noqa: PLC0415 - an extra, and slow to import

    entries = read_state_dict(file)
    published: Any = timm.get_pretrained_cfg(name)
    names = [published.classifier] if isinstance(published.classifier, str) else list(published.classifier or ())
    # Older files of some networks have "head" in place of today's "head.fc"; timm renames it.
    keys = [f"{key}.weight" for name in names for key in (name, name.rpartition(".")[0])]
    rows = next((len(entries[key]) for key in keys if key in entries and entries[key].ndim), 0)
    overlay = {"file": str(file), "num_classes": rows, "label_offset": 0}
    try:
        # Built for the classes of the file, so that timm loads all of it or raises.
        network: Network = timm.create_model(
            name, pretrained=True, num_classes=rows, pretrained_cfg_overlay=overlay, **options
        )
    except (RuntimeError, KeyError) as error:
        reason = shorten(str(error), 300)
        raise ValueError(f"{file} does not fit timm's {name} ({reason}); give a file of this network") from error
    if rows != num_classes:
        network.reset_classifier(num_classes)
    return network
