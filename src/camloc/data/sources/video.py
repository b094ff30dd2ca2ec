"""Frames of a video file, a camera or a stream, one at a time: memory does not grow with their number."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from camloc.data.images.regular import open_regular

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv"}
)
FRAMES_PER_SECOND = 25.0
"""Of what does not say."""
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_OPTIONS_LOCK = threading.Lock()


class Frame(NamedTuple):
    """One image of a video."""

    number: int
    """0-based place in the video."""
    seconds: float
    """Of its place at the video's frames per second."""
    image: Tensor
    """(3,H,W) uint8 RGB."""


class Video:
    """A video file, a camera or a stream.

    Args:
        source: A file's path, a camera's number, or an address such as ``rtsp://HOST/PATH``.
        every: Takes each n-th frame, from the first on.

    Attributes:
        name: Of the file, or the source itself, without what an address has for a password.
        frames_per_second: That it states, else 25.
        num_frames: That are taken, by what a file states; null for cameras and streams.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or cannot be opened.
    """

    def __init__(self, source: str | int, every: int = 1) -> None:
        is_file = isinstance(source, str) and "://" not in source
        self.name = Path(source).name if isinstance(source, str) and is_file else _without_password(str(source))
        self.every, self.is_file = every, is_file
        if isinstance(source, str) and is_file:
            with open_regular(Path(source)), _local_files_only():
                self._capture = cv2.VideoCapture(source)
        else:
            self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            kind = "a video that OpenCV reads" if is_file else "a camera or a stream that can be opened"
            raise ValueError(f"source={self.name} is not {kind}")
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = stated if 0 < stated < 1000 else FRAMES_PER_SECOND  # noqa: PLR2004 - some state their time base
        total = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.num_frames = -(-total // every) if is_file and total > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames to the end, once."""
        number = 0
        try:
            while self._capture.grab():
                if number % self.every == 0:
                    read, pixels = self._capture.retrieve()
                    if read:
                        rgb = torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
                        yield Frame(number, number / self.frames_per_second, rgb)
                number += 1
        finally:
            self._capture.release()


def _without_password(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    host = rest.partition("/")[0]
    return f"{scheme}{separator}{rest[len(host.rpartition('@')[0]) + 1 :] if '@' in host else rest}"


@contextmanager
def _local_files_only() -> Iterator[None]:
    """Let a stranger's file, which may be a play list, name no address that FFmpeg would fetch."""
    with _OPTIONS_LOCK:
        before = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = "protocol_whitelist;file,crypto,data"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_OPTIONS]
            else:
                os.environ[_OPTIONS] = before
