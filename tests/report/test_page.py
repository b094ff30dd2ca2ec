import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from camloc.report.misses import MissRow
from camloc.report.page import Figure, GalleryItem, write_page
from camloc.report.rgb import save_png
from camloc.report.table import ReportedNumber, SplitSize

ATTACK = "<script>alert('x')</script>\"' onerror=alert(1) & co"
NUMBER = ReportedNumber(
    split="test",
    key="test/localization/gt_known_error",
    title="GT-known localization error",
    direction="min",
    value=0.564,
    interval=(0.5, 0.6),
    cam_threshold=0.2,
    threshold_source="val",
    protocol="val_threshold",
)


class Elements(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.tags if found == tag]


def image(path: Path) -> Path:
    save_png(path, np.zeros((2, 2, 3), np.uint8))
    return path


def page_of(
    directory: Path,
    *,
    title: str = "run",
    numbers: Sequence[ReportedNumber] = (NUMBER,),
    num_images: Mapping[str, SplitSize] | None = None,
    figures: Sequence[Figure] = (),
    gallery: Sequence[GalleryItem] = (),
    misses: Mapping[str, Sequence[MissRow]] | None = None,
    config_yaml: str = "seed: 0",
    notes: Sequence[str] = (),
) -> Path:
    return write_page(
        directory,
        title=title,
        numbers=numbers,
        num_images=num_images or {},
        figures=figures,
        gallery=gallery,
        misses=misses or {},
        config_yaml=config_yaml,
        notes=notes,
    )


def test_markup_in_any_field_stays_text(tmp_path: Path) -> None:
    path = image(tmp_path / "a.png")
    harmless = Elements(
        page_of(tmp_path, figures=[Figure(path, "a")], gallery=[GalleryItem(path, "a", "a")], notes=["a"])
    )
    page = page_of(
        tmp_path,
        title=ATTACK,
        numbers=[replace(NUMBER, split=ATTACK, key=ATTACK, title=ATTACK, protocol=ATTACK)],
        figures=[Figure(path, ATTACK)],
        gallery=[GalleryItem(path, ATTACK, ATTACK)],
        config_yaml=ATTACK,
        notes=[ATTACK],
    )
    attacked = Elements(page)
    assert [(tag, set(attributes)) for tag, attributes in attacked.tags] == [
        (tag, set(attributes)) for tag, attributes in harmless.tags
    ]
    # <title> and <h1>, note, split, metric, image name, caption of the chart, configuration
    assert "".join(attacked.texts).count(ATTACK) == 8
    assert attacked.attributes("img", "alt") == [f"Image and heatmap: {ATTACK}", f"Chart: {ATTACK}"]
    assert ATTACK in attacked.attributes("tr", "title")


def test_links_are_relative_and_lead_to_the_images(tmp_path: Path) -> None:
    directory = tmp_path / "report"
    names = ["plain.png", "gallery/0 #1?.png", "gallery/100%.png", "gallery/ü:x.png"]
    paths = [image(directory / name) for name in names]
    page = page_of(
        directory,
        figures=[Figure(paths[0], "absolute"), Figure(Path(names[0]), "relative")],
        gallery=[GalleryItem(path, "caption", "id") for path in paths[1:]],
    )
    elements = Elements(page)
    links = elements.attributes("img", "src")
    assert links == elements.attributes("a", "href")
    targets = []
    for link in links:
        assert link is not None
        url = urlsplit(link)
        assert (url.scheme, url.netloc, url.query, url.fragment) == ("", "", "", "")
        targets.append(unquote(url.path))
    assert targets == [*names[1:], names[0], names[0]]
    assert all((directory / target).is_file() for target in targets)


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    path = image(tmp_path / "a.png")
    page = page_of(tmp_path, figures=[Figure(path, "a")], gallery=[GalleryItem(path, "a", "a")])
    text = page.read_text(encoding="utf-8")
    for outside in ("http:", "https:", "//", "@import", "url("):
        assert outside not in text
    assert "script" not in {tag for tag, _ in Elements(page).tags}
    assert "prefers-color-scheme: dark" in text


def test_results_come_before_gallery_before_charts_before_configuration(tmp_path: Path) -> None:
    path = image(tmp_path / "a.png")
    page = page_of(tmp_path, figures=[Figure(path, "a")], gallery=[GalleryItem(path, "a", "a")])
    texts = Elements(page).texts
    positions = [texts.index(heading) for heading in ("Results", "Gallery", "Charts", "Configuration")]
    assert positions == sorted(positions)


def test_the_page_shows_what_the_table_shows_split_by_split(tmp_path: Path) -> None:
    plain = replace(NUMBER, interval=None, cam_threshold=None, threshold_source="")
    numbers = [
        replace(plain, title="top-1 classification error", value=1 / 3),
        NUMBER,
        replace(plain, split="val", title="PxAP", direction="max", value=0.0),
    ]
    page = page_of(tmp_path, numbers=numbers, num_images={"test": SplitSize(5794, 5794)})
    texts = [text.strip() for text in Elements(page).texts if text.strip()]
    shown = texts[texts.index("Results") + 1 : texts.index("Configuration")]
    header = ["metric", "%", "95% interval", "CAM threshold", "source"]
    assert shown[: shown.index("0.00") + 1] == [
        *["test, 5,794 images", *header, "top-1 classification error", "33.33"],
        *["GT-known localization error", "56.40", "50.0 to 60.0", "0.2", "val"],
        *["val", *header, "PxAP, higher is better", "0.00"],
    ]


def test_what_is_not_there_has_no_section(tmp_path: Path) -> None:
    texts = Elements(page_of(tmp_path, numbers=[])).texts
    assert "No results were measured." in texts
    assert not {"Gallery", "Misses", "Charts", "metric"} & set(texts)


def test_the_configuration_keeps_its_lines(tmp_path: Path) -> None:
    config = "backbone:\n  _target_: camloc.x\n\n  name: '{{ title }}'\n"
    elements = Elements(page_of(tmp_path, config_yaml=config))
    assert config in elements.texts
    assert (
        "details",
        {"id": "configuration", "class": "card", "data-tab": "Configuration"},
    ) in elements.tags  # folded: no "open"


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        page_of(tmp_path, figures=[Figure(Path("gone.png"), "a")])
    assert not (tmp_path / "index.html").exists()


def test_an_image_outside_is_refused(tmp_path: Path) -> None:
    path = image(tmp_path / "outside.png")
    (tmp_path / "report").mkdir()
    with pytest.raises(ValueError, match=r"outside\.png, which is outside it"):
        page_of(tmp_path / "report", gallery=[GalleryItem(path, "a", "a")])


def test_file_names_that_are_not_valid_text_are_escaped(tmp_path: Path) -> None:
    path = image(tmp_path / os.fsdecode(b"\xff.png"))
    elements = Elements(page_of(tmp_path, gallery=[GalleryItem(path, "a", "\udcff.jpg")]))
    assert "\\udcff.jpg" in elements.texts
    assert elements.attributes("img", "src") == ["%FF.png"]


def test_misses_are_a_table_per_grouping_and_stay_text(tmp_path: Path) -> None:
    row = MissRow("<i>cow</i>", ("hit", "no box"), (3000, 1000))
    page = page_of(tmp_path, misses={"object size": [], "class": [row]})
    texts = [text.strip() for text in Elements(page).texts if text.strip()]
    start = texts.index("by class")
    assert texts[start + 1 : start + 9] == ["class", "images", "hit", "no box", "<i>cow</i>", "4,000", "75.0", "25.0"]
    assert "by object size" not in texts
