"""What scripts do on a page that is opened from disk, in a headless Chromium; skipped where there is none."""

import json
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

import pytest

from camloc.report.explorer.files import Explored
from camloc.report.explorer.reading import side_by_side
from camloc.report.page import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = run_path(str(Path(__file__).parents[2] / "browser.py"))
PAGES = run_path(str(Path(__file__).parent / "pages.py"))
page, images = PAGES["page"], PAGES["images"]
MISSING = BROWSER["missing"]()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\"'\n<b>"


class Tab:
    """A page in the browser; anything that it prints, asks from elsewhere or fails at is kept."""

    def __init__(self, browser: "Browser", **options: Any) -> None:  # noqa: ANN401 - of a tab
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 800}, **options)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(f"dialog {dialog.message}"))
        self.page.on("requestfailed", lambda request: self.troubles.append(request.url))
        self.page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else self.troubles.append(request.url),
        )

    def open(self, file: Path) -> "Page":
        self.page.goto(file.absolute().as_uri())
        self.page.wait_for_selector("html[data-ready]")
        self.page.wait_for_selector(".tile rect.box", state="attached")
        return self.page

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def slide(self, step: int, event: str = "change") -> None:
        self.page.locator("#explorer-threshold-0").evaluate(
            "(slider, [step, last]) => { slider.value = step; slider.dispatchEvent(new Event('input'));"
            " if (last === 'change') slider.dispatchEvent(new Event('change')); }",
            [step, event],
        )

    def box(self, tile: int = 0) -> list[float]:
        rect = self.page.locator(".tile").nth(tile).locator("rect.box:not(.halo)")
        return (
            [] if rect.count() == 0 else [float(rect.get_attribute(n) or "nan") for n in ("x", "y", "width", "height")]
        )


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    with BROWSER["browser"]() as started:
        yield started


@pytest.fixture
def tab(chromium: "Browser") -> Iterator[Tab]:
    opened = Tab(chromium)
    yield opened
    assert opened.troubles == []
    opened.page.close()


def test_the_slider_moves_boxes_errors_and_the_curves_marker_together(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path))
    assert tab.texts("#explorer-thresholds output") == ["0.4 (reported, val)"]
    assert tab.texts("#explorer-thresholds dd") == ["25.00", "50.00"]
    assert tab.box() == [0, 0, 1, 0.5]
    assert tab.texts(".tile:first-child .fact") == ["IoU 1.00\n10%"]
    marker = tab.page.locator("#explorer-curve .marker").get_attribute("x1")
    tab.slide(0)
    assert tab.texts("#explorer-thresholds output") == ["0.2"]
    assert tab.texts("#explorer-thresholds dd") == ["12.50", "37.50"]
    assert tab.box() == [0, 0, 1, 1]
    assert tab.texts(".tile:first-child .fact") == ["IoU 0.50\n10%"]
    assert float(tab.page.locator("#explorer-curve .marker").get_attribute("x1") or "nan") < float(marker or "nan")
    tab.slide(2)
    assert tab.box() == []  # no box there
    assert tab.texts("#explorer-causes .chip") == ["hit\n0", "wrong class\n0", "no box\n4", *_rest()]
    tab.page.keyboard.press("0")
    assert tab.texts("#explorer-thresholds dd") == ["25.00", "50.00"]


def _rest() -> list[str]:
    return [f"{cause}\n0" for cause in ("too small (part)", "too large (context)", "merged instances", "elsewhere")]


def test_filters_leave_what_they_say(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path))
    count = "#explorer-count"
    assert tab.texts(count) == ["4 images"]
    assert tab.texts("#explorer-causes .chip")[:2] == ["hit\n2", "wrong class\n2"]
    tab.page.click(".chip.cause-1")
    assert tab.texts(count) == ["2 of 4 images"]
    assert tab.texts(".tile .class") == ["dog", "dog"]
    tab.page.click(".chip.cause-1")
    tab.page.select_option("#explorer-class", label="cat")
    assert tab.texts(".tile .class") == ["cat", "cat"]
    tab.page.click("#explorer-reset")
    tab.page.fill("#explorer-probability-low", "25")
    assert tab.texts(".tile .probability") == ["30%", "40%"]
    tab.page.select_option("#explorer-sort", "probability_down")
    assert tab.texts(".tile .probability") == ["40%", "30%"]
    tab.page.fill("#explorer-text", "2.jpg")
    assert tab.texts(".tile .probability") == ["30%"]
    tab.page.fill("#explorer-text", "nothing")
    assert tab.page.locator("#explorer-empty").is_visible()


def test_a_filter_by_iou_follows_the_threshold_when_the_slider_is_let_go(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path, images(4, wide=[1])))
    tab.slide(2)
    tab.page.fill("#explorer-iou-low", "50")
    assert tab.texts("#explorer-count") == ["1 of 4 images"]
    tab.slide(0, "input")
    assert tab.texts("#explorer-count") == ["1 of 4 images"]
    tab.slide(0)
    assert tab.texts("#explorer-count") == ["4 images"]


def test_the_predicted_class_has_its_own_map_and_box(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path))
    assert tab.box(1) == [0, 0, 1, 0.5]
    tab.page.keyboard.press("c")
    assert tab.box(0) == [0, 0, 1, 0.5]  # predicted rightly: the same map
    assert tab.box(1) == pytest.approx([0, 0, 1, 0.9], abs=1e-4)


def test_details_are_walked_through_by_the_keyboard(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path))
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    detail = "#explorer-detail"
    tab.page.wait_for_selector(f"{detail}[open] .stage rect.box", state="attached")
    assert tab.texts("#explorer-detail-title") == ["dog"]
    assert tab.texts("#explorer-place") == ["2 of 4"]
    assert tab.texts(f"{detail} .likely li") == ["cat\n75.0%", "dog\n25.0%"]
    assert tab.texts(f"{detail} dl dd") == ["wrong class", "1.00", "20.0%", "2"]
    tab.page.keyboard.press(".")
    assert tab.texts(f"{detail} dl dd") == ["no box", "0.00", "20.0%", "2"]
    tab.page.keyboard.press("ArrowRight")
    assert tab.texts("#explorer-place") == ["3 of 4"]
    tab.page.keyboard.press("Escape")
    assert not tab.page.locator(detail).is_visible()


def test_an_image_without_a_true_class_shows_its_false_alarm(tab: Tab, tmp_path: Path) -> None:
    negative = PAGES["negative"]
    tab.open(page(tmp_path, [*images(2), negative(5), negative(6, 0.3)]))
    assert tab.texts("#explorer-count") == ["4 images"]
    assert tab.texts("#explorer-causes .chip")[:2] == ["hit\n1", "wrong class\n1"]
    tab.page.select_option("#explorer-class", label="no true class")
    assert tab.texts("#explorer-count") == ["2 of 4 images"]
    assert tab.texts(".tile .class") == ["no true class"] * 2
    assert tab.texts(".tile .fact") == ["dog\n80%", "dog\n30%"]
    assert tab.box() == pytest.approx([0, 0, 1, 0.9], abs=1e-4)
    assert tab.page.locator(".tile rect.truth").count() == 0
    tab.page.fill("#explorer-probability-low", "50")
    tab.page.keyboard.press("Escape")
    assert tab.texts("#explorer-count") == ["1 of 4 images"]
    tab.page.keyboard.press("Enter")
    assert tab.texts("#explorer-detail-title") == ["no true class"]
    assert tab.texts("#explorer-detail dl dd") == ["dog", "80.0%"]
    assert tab.texts("#explorer-detail .likely li") == ["dog\n80.0%", "cat\n5.0%"]
    tab.page.keyboard.press("Escape")
    tab.page.click("#explorer-reset")
    tab.page.click(".chip.cause-0")
    assert tab.texts(".tile .class") == ["cat"]


def test_images_without_a_class_are_counted_beside_pairs(tab: Tab, tmp_path: Path) -> None:
    first, second = images(2)
    tab.open(page(tmp_path, [first._replace(pairs=[*first.pairs, *second.pairs]), PAGES["negative"](5)]))
    assert tab.texts("#explorer-count") == ["2 pairs of image and class, 1 images without a class"]
    tab.page.select_option("#explorer-class", label="cat")
    assert tab.texts("#explorer-count") == ["1 of 2 pairs of image and class, 0 of 1 images without a class"]


def test_names_stay_text(tab: Tab, tmp_path: Path) -> None:
    shown = images(2, [HOSTILE, f"2{HOSTILE}"])
    tab.open(page(tmp_path, shown, [HOSTILE, f"dog{HOSTILE}"], HOSTILE, HOSTILE))
    tab.page.keyboard.press("Enter")
    plain = HOSTILE.replace("\u202e", "\\u202e").replace("\n", "\\u000a")
    assert tab.texts("#explorer-detail-title") == [plain]
    assert tab.texts("#explorer-detail-name") == [plain]
    assert tab.page.locator("#explore img[onerror], #explore b:text-is('')").count() == 0
    assert tab.page.locator("img:not([src^='explorer/thumbnails/'])").count() == 0


def test_only_what_is_on_the_screen_is_in_the_page(tab: Tab, tmp_path: Path) -> None:
    tab.open(page(tmp_path, images(400)))
    assert tab.page.locator(".tile").count() < 60
    tab.page.keyboard.press("End")
    tab.page.wait_for_selector(".tile.current rect.box", state="attached")
    assert tab.page.locator(".tile").count() < 60
    tab.page.keyboard.press("Enter")
    assert tab.texts("#explorer-detail-name") == ["399.jpg"]


def test_light_and_dark_follow_the_system_until_they_are_switched(chromium: "Browser", tmp_path: Path) -> None:
    opened = Tab(chromium, color_scheme="dark")
    shown = opened.open(page(tmp_path))

    def ground() -> str:
        return str(shown.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert ground() == "rgb(18, 19, 22)"
    shown.keyboard.press("t")
    assert ground() == "rgb(247, 247, 245)"
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert ground() == "rgb(247, 247, 245)"
    assert opened.troubles == []
    shown.close()


def test_two_runs_stand_side_by_side_and_who_is_right_is_found(tab: Tab, tmp_path: Path) -> None:
    page(tmp_path / "a", images(4))
    page(tmp_path / "b", images(4, wide=[0]))
    both: Explored = side_by_side({"left": tmp_path / "a", "right": tmp_path / "b"}, tmp_path / "both")
    tab.open(write_page(tmp_path / "both", title="both", explorer=both))
    assert tab.page.locator(".tile:first-child .view").count() == 2
    tab.page.locator("#explorer-thresholds input").nth(1).focus()
    tab.slide(2)
    tab.page.locator("#explorer-threshold-1").evaluate(
        "one => { one.value = 2; one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); }"
    )
    tab.page.select_option("#explorer-agreement", "right")
    assert tab.texts("#explorer-count") == ["1 of 4 images"]
    assert tab.texts(".tile .fact") == ["IoU 0.00\n10%", "IoU 1.00\n10%"]
    tab.page.select_option("#explorer-right", "")
    assert tab.page.locator(".tile:first-child .view").count() == 1


def test_a_page_without_truth_has_no_errors_and_no_causes(tab: Tab, tmp_path: Path) -> None:
    bare = [
        image._replace(pairs=[one._replace(iou=None, causes=None, gt_boxes=one.gt_boxes[:0]) for one in image.pairs])
        for image in images(2)
    ]
    explored = Explored(["cat", "dog"], [(PAGES["run"]()._replace(errors={}, iou_threshold=None), bare)], "All.")
    tab.open(write_page(tmp_path, title="found", explorer=explored) if page(tmp_path, bare) else tmp_path)
    assert not tab.page.locator("#explorer-causes").is_visible()
    assert not tab.page.locator("#explorer-curve").is_visible()
    assert tab.texts(".tile .fact") == ["10%", "20%"]


def test_the_errors_of_a_real_run_are_those_of_its_metrics(tab: Tab, trained: tuple[Path, str]) -> None:
    run, _ = trained
    metrics = json.loads((run / "metrics.json").read_text())
    tab.open(run / "report" / "index.html")
    errors = [metrics[f"test/localization/{name}_error"] for name in ("gt_known", "top1")]
    assert tab.texts("#explorer-thresholds dd") == [f"{100 * error:.2f}" for error in errors]
    assert tab.texts("#explorer-thresholds output")[0].startswith(f"{metrics['test/localization/cam_threshold']:g} ")
    hits = metrics["test/localization/top1_hits"]
    assert tab.texts("#explorer-causes .chip")[0] == f"hit\n{hits}"
    assert tab.texts("#tabs a") == ["Explore", "Results", "Gallery", "Misses", "Charts", "Configuration"]
