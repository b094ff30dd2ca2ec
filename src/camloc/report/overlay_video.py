"""A video of overlays, written frame by frame."""

from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from camloc.report.rgb import RGB


class OverlayVideo:
    """An MP4 file of MPEG-4 frames, which players read and browsers do not; opened with the first frame.

    Args:
        path: The file.
        frames_per_second: Of it.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self.path, self.frames_per_second = path, frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, frame: RGB) -> None:
        """Append a frame; one of another size than the first is resized to it.

        Args:
            frame: (H,W,3) uint8.

        Raises:
            OSError: If the file cannot be written.
        """
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            self._size = (size[0] // 2 * 2 or 2, size[1] // 2 * 2 or 2)  # chroma has a pixel for each two by two
            self.path.unlink(missing_ok=True)
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self.frames_per_second, self._size
            )
            if not self._writer.isOpened():
                raise OSError(f"{self.path} cannot be written as a video")
        shown = frame if size == self._size else cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
