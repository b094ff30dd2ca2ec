"""Checkpoints: read without running code from them, written so that the previous one is never lost."""

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from camloc.experiment.run_directory import VERSION_KEY
from camloc.export.replaced import replaced

CONFIG_KEY = "camloc_config"
"""Where a checkpoint keeps its run's configuration, resolved, as plain containers."""

# A checkpoint is a zip archive, and this is the archive's comment: the last bytes of the file, over all that precede.
_CHECKSUM = b"camloc sha256 %s"
_CHECKSUM_FORM = re.compile(rb"camloc sha256 ([0-9a-f]{64})")
_CHECKSUM_LENGTH = len(_CHECKSUM % (b"0" * 64))


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``, once its checksum is found to be right.

    Raises:
        ValueError: If it is cut off, damaged, no checkpoint, or holds code.
    """
    has_checksum = _verify(file)
    try:
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("torch compresses nothing")  # noqa: TRY301 - as whatever else is wrong with it
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are not a checkpoint, the unpickler raises nearly anything
        # Not torch's own text, which advises to load it without that protection.
        raise ValueError(
            f"{file} is cut off, no checkpoint, or holds code, which is not run; give one that camloc train wrote"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{file} holds no state_dict; give a checkpoint that camloc train wrote")  # noqa: TRY004 - the file is wrong, no type is
    if VERSION_KEY in checkpoint and not has_checksum:
        raise ValueError(
            f"{file} lacks the checksum at its end, so it was cut off or changed after camloc train had written it; "
            "take the original, or write what you changed with camloc.experiment.checkpoint.write_checkpoint"
        )
    return checkpoint


def write_checkpoint(checkpoint: Mapping[str, Any], file: Path) -> None:
    """Write a checkpoint with its checksum to a new file that replaces ``file``, and wait until it is on the disk.

    Raises:
        OSError: If there is no room; a previous file is intact.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_checkpoint({"state_dict": {}}, Path(folder) / "a.ckpt")
        ...     load_checkpoint(Path(folder) / "a.ckpt")
        {'state_dict': {}}
    """
    # Not directly to the file: torch's error would hide that the disk is full.
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    buffer.seek(-2, os.SEEK_END)
    buffer.write(_CHECKSUM_LENGTH.to_bytes(2, "little"))  # of the comment, where the archive says it
    comment = _CHECKSUM % hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
    with replaced(file) as partial, partial.open("wb") as stream:
        stream.write(buffer.getbuffer())
        stream.write(comment)
        stream.flush()
        os.fsync(stream.fileno())


def _verify(file: Path) -> bool:
    """Return whether a file ends in a checksum.

    Raises:
        ValueError: If that is not the file's.
    """
    with file.open("rb") as stream:
        length = max(stream.seek(0, os.SEEK_END) - _CHECKSUM_LENGTH, 0)
        stream.seek(length)
        said = _CHECKSUM_FORM.fullmatch(stream.read())
        if said is None:
            return False
        stream.seek(0)
        digest, left = hashlib.sha256(), length
        while left:
            chunk = stream.read(min(left, 1 << 20))
            if not chunk:  # another process has cut it off
                break
            digest.update(chunk)
            left -= len(chunk)
    if digest.hexdigest().encode() != said[1]:
        raise ValueError(f"{file} is damaged: its content is not the one that its checksum was made of; copy it again")
    return True


def trained_so_far(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the epoch that a training was in when it was saved, and the batches of it that it had trained.

    Raises:
        ValueError: If the checkpoint was not saved by a training.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
        in_epoch = epochs["ready"] > epochs["processed"]
        return int(epochs["processed"]), int(batches["completed"]) if in_epoch else 0
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint does not say where its training stood: {error} is missing") from error


def load_weights(module: nn.Module, file: Path, prefix: str = "") -> None:
    """Load a checkpoint's weights into a module.

    Args:
        module: The trained one, or a part of it.
        file: The checkpoint.
        prefix: Of the part's weights, such as ``predictor.``; others are left out.

    Raises:
        ValueError: If they do not fit.
    """
    weights = load_checkpoint(file)["state_dict"]
    own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(f"{file} does not fit the network that is configured: {lines[1].strip()}") from error


def weights_fingerprint(file: Path, prefix: str = "predictor.") -> str:
    """Return the SHA-256 of a checkpoint's weights: of their names, kinds, shapes and bytes, in the order of names.

    Args:
        file: The checkpoint.
        prefix: Of the weights that count.

    Raises:
        ValueError: See :func:`load_checkpoint`.
    """
    weights = load_checkpoint(file)["state_dict"]
    digest = hashlib.sha256()
    for name in sorted(name for name in weights if name.startswith(prefix)):
        weight = weights[name]
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint to a temporary file in the same directory and rename it; read only what is whole.

    Lightning writes to the system's temporary directory. If that is another file system, it then copies over the
    previous checkpoint: killed or out of space halfway, no checkpoint would be left.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write the file and wait until it is on the disk.

        Raises:
            OSError: If there is no room.
        """
        file = Path(path)
        try:
            file.parent.mkdir(exist_ok=True)  # not its parents: a run that was moved away is not begun again
            write_checkpoint(checkpoint, file)
        except OSError as error:
            kept = "the previous checkpoint is intact, and resume=RUN continues from it"
            if not file.with_name("last.ckpt").is_file():
                kept = "no checkpoint was written before"
            raise OSError(f"{file} could not be written: {error.strerror}; {kept}") from error

    def load_checkpoint(
        self, path: str | Path, map_location: object = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the file, always with ``weights_only=True`` and to the CPU, from where each state finds its device.

        Raises:
            ValueError: See :func:`load_checkpoint`.
        """
        return load_checkpoint(Path(path))
