"""Frames of a video that the test makes."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.images.transforms import EvalTransform
from camloc.data.sources.loading import Viewing, load_frames
from camloc.data.sources.video import Video, _without_password


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven frames that get brighter by 30 each."""
    file = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(7):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    return file


def test_each_nth_frame_comes_in_its_order(clip: Path) -> None:
    video = Video(str(clip), every=3)
    assert (video.name, video.num_frames, video.frames_per_second) == ("clip.avi", 3, 10.0)
    frames = list(video)
    assert [(frame.number, frame.seconds) for frame in frames] == [(0, 0.0), (3, 0.3), (6, 0.6)]
    for frame in frames:
        assert frame.image.shape == (3, 48, 64)
        assert frame.image.float().mean().item() == pytest.approx(30 * frame.number, abs=3)


def test_colours_are_not_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))  # BGR
    writer.release()
    red, green, blue = next(iter(Video(str(file)))).image.float().mean(dim=(1, 2)).tolist()
    assert red > 240
    assert max(green, blue) < 20


def test_frames_come_in_batches_with_their_times(clip: Path) -> None:
    batches = list(load_frames(Video(str(clip)), Viewing(EvalTransform(32), 16), 3))
    assert [[one.name for one in batch] for batch in batches][2] == ["clip.avi/000006"]
    first = batches[0][1]
    assert (first.seconds, first.size, first.window) == (0.1, (48, 64), (0, 0, 64, 48))
    assert first.image is not None
    assert first.image.shape == torch.Size([3, 32, 32])
    assert first.shown is not None
    assert first.shown.shape == torch.Size([3, 12, 16])


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Video(str(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"source=text\.mp4 is not a video that OpenCV reads"):
        Video(str(tmp_path / "text.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="FIFO"):
        Video(str(tmp_path / "pipe.mp4"))


def test_a_password_is_not_shown() -> None:
    assert _without_password("rtsp://user:secret@host:554/stream@1") == "rtsp://host:554/stream@1"
    assert _without_password("http://host/a") == "http://host/a"
