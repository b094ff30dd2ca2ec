"""Read weight files without running code, and fill a trunk with published weights: all of it, or an error."""

from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from camloc.backbones.caffemodel import read_caffemodel

SHOWN_KEYS = 3


def locate(weights: str, published: WeightsEnum) -> Path:
    """Find the file that ``weights`` means, without downloading anything.

    Args:
        weights: The name of ``published``, or the path of a local file in the same format.
        published: The torchvision weights that fit the trunk.

    Returns:
        The local file, or the path in torch's cache where the published file is or will be.

    Raises:
        ValueError: ``weights`` is a name, but not that of ``published``.
        FileNotFoundError: ``weights`` is a path and there is no file.

    Example:
        >>> from torchvision.models import AlexNet_Weights
        >>> locate("IMAGENET1K_V1", AlexNet_Weights.IMAGENET1K_V1).name
        'alexnet-owt-7be5be79.pth'
    """
    if weights == published.name:
        return Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    choice = f"{published.name} ({Path(published.url).name} of torchvision)"
    return find_file(weights, choice)


def find_file(weights: str, published: str | None = None) -> Path:
    """Find the local file that ``weights`` means.

    Args:
        weights: A path; ``~`` is the home directory.
        published: What could be given in place of a path, for the message; None if nothing could.

    Raises:
        ValueError: There is no such file, and ``weights`` looks like a name.
        FileNotFoundError: There is no such file.
    """
    file = Path(weights).expanduser()
    if file.is_file():
        return file
    fix = f"give {f'{published}, ' if published else ''}the path of a file, or null"
    if weights.isidentifier():
        raise ValueError(f"backbone.weights={weights}: this backbone has no weights of this name; {fix}")
    raise FileNotFoundError(f"backbone.weights={weights}: there is no such file; {fix}")


def load_trunk(
    trunk: nn.Module,
    weights: str,
    published: WeightsEnum,
    *,
    prefix: str = "",
    replaced: tuple[str, ...] = (),
    classifier: str | None = None,
) -> None:
    """Fill a trunk, or a whole network, with published weights by :func:`fill_trunk`.

    Args:
        trunk: Filled in place.
        weights: The name of ``published``, or the path of a local file in the same format.
        published: The torchvision weights that fit the trunk.
        prefix: See :func:`fill_trunk`.
        replaced: The same.
        classifier: The same.

    Raises:
        ValueError: No weights of this name fit the trunk, the file is not a state dict, or it has an unknown
            key, a missing key or a wrong shape.
        FileNotFoundError: There is no such file, or the published one cannot be downloaded.

    Example:
        >>> import tempfile
        >>> from torchvision.models import AlexNet_Weights
        >>> trunk = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
        >>> entries = {"features.0.weight": torch.full((1, 1, 1, 1), 7.0), "fc.weight": torch.ones(2, 1)}
        >>> with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        ...     torch.save(entries, file.name)
        ...     published = AlexNet_Weights.IMAGENET1K_V1
        ...     load_trunk(trunk, file.name, published, prefix="features.", replaced=("fc.",))
        >>> trunk[0].weight.item()
        7.0
    """
    file = locate(weights, published)
    if weights == published.name and not file.is_file():
        _download(published, file)
    expected = f"torchvision's {Path(published.url).name}"
    fill_trunk(trunk, file, expected, prefix=prefix, replaced=replaced, classifier=classifier)


def fill_trunk(
    trunk: nn.Module,
    file: Path,
    expected: str,
    *,
    prefix: str = "",
    replaced: tuple[str, ...] = (),
    classifier: str | None = None,
) -> None:
    """Fill a trunk, or a whole network, with the weights of a local file.

    Every entry of the trunk comes from the file, and every entry of the file goes into the trunk or belongs
    to layers that are replaced. Only batch norm's ``num_batches_tracked`` may be missing, as in files older
    than that counter; it is then 0, which has no effect as long as batch norm has a momentum.

    Args:
        trunk: Filled in place.
        file: A state dict.
        expected: The file whose format it should have, for messages.
        prefix: What precedes the trunk's keys in the file.
        replaced: Prefixes of the file's keys that the trunk does not have.
        classifier: Name of the last layer in the file. It is filled if the file is of as many classes, and
            keeps its random weights if not. None: it is filled like any other layer.

    Raises:
        ValueError: The file is not a state dict, or has an unknown key, a missing key or a wrong shape.
    """
    entries = read_state_dict(file)
    wanted = {prefix + key: value for key, value in trunk.state_dict().items()}
    rows = None if classifier is None else entries.get(f"{classifier}.weight")
    if rows is not None and rows.shape[:1] != wanted[f"{classifier}.weight"].shape[:1]:
        replaced = (*replaced, f"{classifier}.")
        wanted = {key: value for key, value in wanted.items() if not key.startswith(f"{classifier}.")}
    for key in wanted.keys() - entries.keys():
        if key.endswith(".num_batches_tracked"):
            entries[key] = torch.tensor(0)
    refuse_misfits(file, entries, wanted, replaced=replaced, fix=f"give a file in the format of {expected}")
    trunk.load_state_dict(trunk.state_dict() | {key.removeprefix(prefix): entries[key] for key in wanted})


def refuse_misfits(
    file: Path, entries: dict[str, Tensor], wanted: dict[str, Tensor], *, replaced: tuple[str, ...] = (), fix: str
) -> None:
    """Refuse the entries of a file that are not exactly those wanted.

    Args:
        file: Where they were read, for the message.
        entries: As read.
        wanted: Tensors of the shapes that the network needs.
        replaced: Prefixes of keys that may be in the file although they are not wanted.
        fix: What to give instead, for the message.

    Raises:
        ValueError: A key is unknown or missing, or a shape is wrong.
    """
    missing = [key for key in wanted if key not in entries]
    unknown = [key for key in entries if key not in wanted and not key.startswith(replaced)]
    misshapen = [key for key in wanted if key in entries and entries[key].shape != wanted[key].shape]
    if unknown:
        raise ValueError(f"{file} has keys that this backbone does not have: {_shown(unknown)}; {fix}")
    if missing:
        raise ValueError(f"{file} lacks keys of this backbone: {_shown(missing)}; {fix}")
    if misshapen:
        key = misshapen[0]
        found, expected = tuple(entries[key].shape), tuple(wanted[key].shape)
        raise ValueError(f"{file}: {key} has shape {found}, this backbone needs {expected}; {fix}")


def refuse_batch_norm(weights: str, network: str) -> None:
    """Refuse to put batch norm between layers whose weights were trained without it.

    Args:
        weights: The option that it cannot be combined with.
        network: Whose weights they are, for the message.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"batch_norm=true cannot start from weights={weights}: {network} has no batch norm; "
        "set batch_norm=false, or weights=null to train from scratch"
    )


def _download(published: WeightsEnum, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The names of torchvision's files end in the first digits of the content's SHA-256.
        torch.hub.download_url_to_file(published.url, str(file), hash_prefix=file.stem.rpartition("-")[2])
    except (OSError, HTTPException, RuntimeError) as error:  # no network, a broken response, a wrong hash
        raise FileNotFoundError(
            f"backbone.weights={published.name}: could not download {published.url} ({error}); download {file.name} "
            f"some other way and put it into {file.parent}, or give backbone.weights=/path/to/{file.name}"
        ) from error


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or ``.caffemodel`` file, or of what ``torch.save`` wrote; runs no code.

    Raises:
        ValueError: The file is damaged, holds something other than named tensors or a number that is not finite, or
            the package ``safetensors`` is missing.
    """
    tensors = _read(file)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{file} has numbers under {name} that are not finite; give the weights of another epoch")
    return tensors


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    if file.suffix == ".caffemodel":
        return read_caffemodel(file)
    fix = "save the plain tensors with torch.save(model.state_dict(), file)"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are not a checkpoint, the unpickler raises nearly anything
        if "Unsupported global" in str(error):  # the only sign that torch gives
            raise ValueError(f"{file} holds pickled objects, which could run code; {fix}") from error
        raise ValueError(f"{file} is damaged or was not written by torch.save; {fix}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ValueError(f"{file} is not a state dict but a {found}; {fix}")  # noqa: TRY004 - the file is wrong, no type is
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        keys = _shown([str(key) for key in content])
        raise ValueError(f"{file} is not a state dict but a dict with the keys {keys}; {fix}")
    return content


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - of the extra timm
        from safetensors.torch import load_file  # noqa: PLC0415 - of the extra timm
    except ImportError as error:
        raise ValueError(f"{file} needs the package safetensors: pip install 'camloc[timm]'") from error
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or not a safetensors file ({error}); download it again") from error


def _shown(keys: list[str]) -> str:
    rest = len(keys) - SHOWN_KEYS
    return ", ".join(keys[:SHOWN_KEYS]) + (f" and {rest} more" if rest > 0 else "")
