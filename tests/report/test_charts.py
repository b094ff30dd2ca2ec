from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from camloc.report.charts import CAUSE_COLOURS, misses_chart, threshold_curve, training_curve
from camloc.report.rgb import RGB


def read_png(path: Path) -> RGB:
    """Read with another library than the one that writes."""
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return bgr[..., ::-1].astype(np.uint8)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path, **_: object) -> None:
        figures.append(figure)
        path.touch()

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


class TestThresholdCurve:
    def test_lines_are_percent_over_thresholds(self, saved: list[Figure], tmp_path: Path) -> None:
        curves = {"GT-known at IoU 0.5": [1.0, 0.25], "GT-known at IoU 0.7": torch.tensor([1.0, 0.5]).tolist()}
        threshold_curve([0.0, 0.2], curves, 0.2, "val", tmp_path / "curve.png")
        (axes,) = saved[0].axes
        first, second, reported = axes.lines
        assert [line.get_label() for line in (first, second)] == list(curves)
        np.testing.assert_array_equal(first.get_xydata(), [[0.0, 100.0], [0.2, 25.0]])
        np.testing.assert_array_equal(second.get_xydata(), [[0.0, 100.0], [0.2, 50.0]])
        np.testing.assert_array_equal(reported.get_xdata(), [0.2, 0.2])
        assert [text.get_text() for text in axes.texts] == ["reported at 0.2 (val)"]
        assert axes.get_ylabel() == "error (%)"
        assert "fraction of the score map's maximum" in axes.get_xlabel()
        assert [text.get_text() for text in saved[0].legends[0].get_texts()] == list(curves)

    def test_jobs_of_a_sweep_are_points_on_every_curve(self, saved: list[Figure], tmp_path: Path) -> None:
        curves = {"a": [0.9, 0.5, 0.2, 0.6], "b": [1.0, 0.75, 0.5, 0.25]}
        threshold_curve([0.0, 0.2, 0.4, 0.6], curves, 0.4, "val", tmp_path / "curve.png", jobs=[0.6, 0.2])
        (axes,) = saved[0].axes
        a, a_jobs, b, b_jobs, _, _ = axes.lines
        assert [np.asarray(line.get_xdata()).size for line in (a, b)] == [4, 4]
        assert np.asarray(a_jobs.get_xydata()).tolist() == [[0.2, 50], [0.6, 60]]
        assert np.asarray(b_jobs.get_xydata()).tolist() == [[0.2, 75], [0.6, 25]]
        assert (a_jobs.get_linestyle(), a_jobs.get_marker(), a_jobs.get_color()) == ("None", "o", a.get_color())
        assert [text.get_text() for text in saved[0].legends[0].get_texts()] == ["a", "b", "a job of the sweep"]

    def test_an_image_is_written_where_no_folder_was(self, tmp_path: Path) -> None:
        path = tmp_path / "report" / "curve.png"
        threshold_curve([0.0, 0.5], {"a": [1.0, 0.5]}, 0.95, "oracle", path)
        assert read_png(path).shape == (800, 1280, 3)

    def test_a_curve_of_another_length_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="'b' has 1 errors for 2 thresholds"):
            threshold_curve([0.0, 0.5], {"a": [1, 1], "b": [1]}, 0.2, "val", tmp_path / "curve.png")

    def test_no_curve_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"curve\.png: there is no curve"):
            threshold_curve([0.0, 0.5], {}, 0.2, "val", tmp_path / "curve.png")


class TestTrainingCurve:
    ROWS = ({"epoch": 0, "val/a": 0.5}, {"epoch": 0, "val/b": 0.75}, {"epoch": 1, "val/a": 0.25})

    def test_rows_without_a_key_are_left_out_of_its_line(self, saved: list[Figure], tmp_path: Path) -> None:
        training_curve(self.ROWS, ["val/a", "val/missing", "val/b"], tmp_path / "curve.png")
        (axes,) = saved[0].axes
        lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
        assert lines == {"val/a": [[0.0, 50.0], [1.0, 25.0]], "val/b": [[0.0, 75.0]]}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "error (%)")

    def test_a_single_epoch_is_drawn(self, tmp_path: Path) -> None:
        training_curve(self.ROWS[:1], ["val/a"], tmp_path / "curve.png")
        assert read_png(tmp_path / "curve.png").shape == (800, 1280, 3)

    @pytest.mark.parametrize("rows", [[], [{"epoch": 0, "val/other": 0.5}]], ids=["no rows", "other keys"])
    def test_nothing_to_draw_is_refused(self, rows: list[dict[str, float]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"curve\.png: there is no curve"):
            training_curve(rows, ["val/a"], tmp_path / "curve.png")


class TestMissesChart:
    GROUPS, CAUSES = ("under 10%", "10 to 25%", "25 to 50%"), ("hit", "no box", "elsewhere")
    COUNTS = ((1, 2, 1), (0, 0, 0), (1940, 20, 40))

    def test_bars_are_percent_of_their_bin(self, saved: list[Figure], tmp_path: Path) -> None:
        misses_chart(self.GROUPS, self.CAUSES, self.COUNTS, tmp_path / "misses.png")
        (axes,) = saved[0].axes
        bars = [[(bar.get_x(), bar.get_width()) for bar in bars] for bars in axes.containers]
        assert bars == [
            [(0, 25), (0, 0), (0, 97)],
            [(25, 50), (0, 0), (97, 1)],
            [(75, 25), (0, 0), (98, 2)],
        ]
        # Too narrow a segment has no number in it.
        assert [text.get_text() for text in axes.texts if text.get_text()] == ["25", "97", "50", "25"]
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "under 10%\n4 images",
            "10 to 25%\n0 images",
            "25 to 50%\n2,000 images",
        ]
        assert axes.yaxis_inverted()
        assert [text.get_text() for text in saved[0].legends[0].get_texts()] == list(self.CAUSES)

    def test_every_cause_has_its_own_colour_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "report" / "misses.png"
        causes = [f"cause {index}" for index in range(7)]
        misses_chart(["all"], causes, [[10] * 7], path)
        image = read_png(path)
        assert image.shape == (800, 1280, 3)
        hexes = [colour.removeprefix("#") for colour, _ in CAUSE_COLOURS]
        assert len(set(hexes)) == 7
        for digits in hexes:
            red, green, blue = bytes.fromhex(digits)
            assert (image == (red, green, blue)).all(axis=-1).sum() > 2000

    @pytest.mark.parametrize("letters", CAUSE_COLOURS, ids=lambda pair: pair[0])
    def test_text_contrasts_with_its_segment(self, letters: tuple[str, str]) -> None:
        def luminance(colour: str) -> float:
            rgb = np.array(mpl.colors.to_rgb(colour))
            linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
            return float(linear @ [0.2126, 0.7152, 0.0722])

        dark, bright = sorted(map(luminance, letters))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, contrast of text

    @pytest.mark.parametrize("counts", [[], [[1, 2, 3]], [[1, 2]] * 3])
    def test_counts_that_do_not_fit_are_refused(self, counts: list[list[int]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"misses\.png: 3 groups and 3 causes"):
            misses_chart(self.GROUPS, self.CAUSES, counts, tmp_path / "misses.png")

    def test_more_causes_than_colours_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"8 causes \(at most 7\)"):
            misses_chart(["all"], list("abcdefgh"), [[1] * 8], tmp_path / "misses.png")
