"""Names in annotations against names of files, each way in which tools spell them."""

import pytest

from camloc.data.annotations.image_names import ImageNames

E_ACUTE, COMBINING = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cat/1.jpg", "cat/1.jpg"),
        ("./cat//1.jpg", "cat/1.jpg"),
        ("images\\1.jpg", "cat/1.jpg"),
        ("C:\\Users\\me\\cat\\1.jpg", "cat/1.jpg"),
        ("/home/me/data/cat/1.jpg", "cat/1.jpg"),
        ("../images/1.jpg", "1.jpg"),
        ("file:///data/my%20cat/1.jpg", "my cat/1.jpg"),
        ("http://host/data/local-files/?d=cat/1.jpg", "cat/1.jpg"),
        ("/data/upload/3/0a1b2c3d-1.jpg", "1.jpg"),
        ("100%25.jpg", "100%.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("a%20b.jpg", "a%20b.jpg"),
        (f"caf{COMBINING}/1.jpg", f"caf{E_ACUTE}/1.jpg"),
        (f"caf{E_ACUTE}.jpg", f"caf{COMBINING}.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("img_1", "img_1.dcm"),
        ("v1.2_scan", "v1.2_scan.png"),
    ],
)
def test_one_file_is_found_however_it_is_spelt(name: str, file: str) -> None:
    assert ImageNames(["other.png", file]).find([name], "a.json") == ([1], [])


def test_the_spelling_of_the_file_counts_before_its_decoding() -> None:
    names = ImageNames(["a b.jpg", "a%20b.jpg"])
    assert names.find(["a%20b.jpg", "a b.jpg"], "a.json") == ([1, 0], [])


def test_the_most_folders_in_common_decide() -> None:
    names = ImageNames(["1.jpg", "val/x/1.jpg", "test/x/1.jpg"])
    assert names.find(["/data/test/x/1.jpg", "1.jpg", "val/x/1.jpg"], "a.csv") == ([2, 0, 1], [])


def test_capital_letters_are_told_apart_where_both_exist() -> None:
    names = ImageNames(["a/1.jpg", "a/1.JPG"])
    assert names.find(["1.JPG", "1.jpg"], "a.csv") == ([1, 0], [])


def test_a_bare_name_of_two_files_is_a_problem() -> None:
    found = ImageNames(["cat/1.jpg", "dog/1.jpg"]).find(["1.jpg"], "a.csv")
    assert found.problems == [
        ("a.csv", "1.jpg could be cat/1.jpg or dog/1.jpg; name the folder as well, or rename one")
    ]


def test_a_stem_of_two_files_is_a_problem_and_a_whole_name_is_not() -> None:
    names = ImageNames(["1.jpg", "1.png"])
    assert names.find(["1.png"], "a.csv") == ([1], [])
    assert len(names.find(["1"], "a.csv").problems) == 1


def test_two_names_of_one_file_are_a_problem() -> None:
    found = ImageNames(["cat/1.jpg"]).find(["cat/1.jpg", "dog/1.jpg"], "a.csv")
    assert found.problems == [("a.csv", "cat/1.jpg and dog/1.jpg could both be cat/1.jpg; name the folders as well")]


@pytest.mark.parametrize("name", ["2.jpg", "", "/", "..", "1.jpg.png", "1.jp", "\0"])
def test_no_file_is_found_by_another_name(name: str) -> None:
    assert ImageNames(["1.jpg"]).find([name], "a.csv") == ([None], [])
