"""Start a trunk from published weights, or from a local file of the same layout: exactly, or not at all."""

from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

SHOWN_KEYS = 3


def locate(weights: str, published: WeightsEnum) -> Path:
    """Say which file ``weights`` means, without touching the network.

    Args:
        weights: The name of ``published``, or the path of a local file in the same format.
        published: The torchvision weights that fit the trunk.

    Returns:
        The local file, or the place in torch's cache where the published file is or will be.

    Raises:
        ValueError: ``weights`` is a name, but not that of ``published``.
        FileNotFoundError: ``weights`` is a path without a file.

    Example:
        >>> from torchvision.models import AlexNet_Weights
        >>> locate("IMAGENET1K_V1", AlexNet_Weights.IMAGENET1K_V1).name
        'alexnet-owt-7be5be79.pth'
    """
    if weights == published.name:
        return Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    file = Path(weights).expanduser()
    if file.is_file():
        return file
    choice = f"give {published.name} ({Path(published.url).name} of torchvision), a path to a file, or null"
    if weights.isidentifier():
        raise ValueError(f"weights={weights}: no weights of this name fit this backbone; {choice}")
    raise FileNotFoundError(f"weights={weights}: there is no such file; {choice}")


def load_trunk(
    trunk: nn.Module, weights: str, published: WeightsEnum, *, prefix: str = "", replaced: tuple[str, ...]
) -> None:
    """Fill a trunk with published weights.

    Every entry of the trunk comes from the file, and every entry of the file goes into the trunk or belongs
    to the head that class activation mapping replaces. Only batch norm's ``num_batches_tracked`` may be
    absent, as in files older than that counter; it is then 0, and nothing reads it as long as batch norm has
    a momentum.

    Args:
        trunk: Filled in place.
        weights: The name of ``published``, or the path of a local file in the same format.
        published: The torchvision weights that fit the trunk.
        prefix: What stands before the trunk's keys in the file.
        replaced: Beginnings of the keys that belong to the replaced head.

    Raises:
        ValueError: No weights of this name fit the trunk, or the file is no state dict, or it has a key too
            many, a key too few or a wrong shape.
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
    entries = _read(file)

    wanted = {prefix + key: value for key, value in trunk.state_dict().items()}
    for key in wanted.keys() - entries.keys():
        if key.endswith(".num_batches_tracked"):
            entries[key] = torch.tensor(0)
    missing = [key for key in wanted if key not in entries]
    unknown = [key for key in entries if key not in wanted and not key.startswith(replaced)]
    misshapen = [key for key in wanted if key in entries and entries[key].shape != wanted[key].shape]
    mend = f"give a file in the format of torchvision's {Path(published.url).name}"
    if unknown:
        raise ValueError(f"{file} has keys that this backbone has no place for: {_shown(unknown)}; {mend}")
    if missing:
        raise ValueError(f"{file} lacks keys of this backbone: {_shown(missing)}; {mend}")
    if misshapen:
        key = misshapen[0]
        found, expected = tuple(entries[key].shape), tuple(wanted[key].shape)
        raise ValueError(f"{file}: {key} has shape {found}, this backbone needs {expected}; {mend}")
    trunk.load_state_dict({key.removeprefix(prefix): entries[key] for key in wanted})


def _download(published: WeightsEnum, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # torchvision ends its file names in the beginning of the content's SHA-256.
        torch.hub.download_url_to_file(published.url, str(file), hash_prefix=file.stem.rpartition("-")[2])
    except (OSError, HTTPException, RuntimeError) as error:  # no network, a broken answer, a wrong hash
        raise FileNotFoundError(
            f"weights={published.name}: could not fetch {published.url} ({error}); download {file.name} "
            f"by other means and put it into {file.parent}, or give weights=/path/to/{file.name}"
        ) from error


def _read(file: Path) -> dict[str, Tensor]:
    mend = "save the plain tensors with torch.save(model.state_dict(), file)"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no checkpoint, the unpickler raises nearly anything
        if "Unsupported global" in str(error):  # the only sign that torch gives
            raise ValueError(f"{file} holds pickled objects, which could run code; {mend}") from error
        raise ValueError(f"{file} is damaged or was not written by torch.save; {mend}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ValueError(f"{file} is no state dict but a {found}; {mend}")  # noqa: TRY004 - the file is wrong, no type is
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        keys = _shown([str(key) for key in content])
        raise ValueError(f"{file} is no state dict but a dict with the keys {keys}; {mend}")
    return content


def _shown(keys: list[str]) -> str:
    rest = len(keys) - SHOWN_KEYS
    return ", ".join(keys[:SHOWN_KEYS]) + (f" and {rest} more" if rest > 0 else "")
