"""Arrays kept between runs: whole, or not at all."""

from pathlib import Path

import numpy as np
import pytest

from camloc.data.cache import cache_file, write_cache


def test_the_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file("a") == tmp_path / "camloc" / "a.npz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    assert cache_file("a") == tmp_path / "me" / ".cache" / "camloc" / "a.npz"


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_file("a") is None


def test_an_earlier_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    for count in (3, 2):
        write_cache(file, {"numbers": np.arange(count), "texts": np.array([b"x", b"yy"])})
        with np.load(file) as found:
            assert found["numbers"].tolist() == list(range(count))
            assert found["texts"].tolist() == [b"x", b"yy"]
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_what_cannot_be_written_is_left_out_and_what_is_half_written_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("no folder")
    write_cache(tmp_path / "taken" / "a.npz", {"numbers": np.arange(3)})
    file = tmp_path / "a.npz"
    write_cache(file, {"numbers": np.arange(3)})

    def full(stream: object, **_: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined] # a file
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    write_cache(file, {"numbers": np.arange(9)})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.npz", "taken"]
    with np.load(file) as found:
        assert found["numbers"].tolist() == [0, 1, 2]
