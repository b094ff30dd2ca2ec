from collections import Counter

from camloc.data.images.suffixes import IMAGE_SUFFIXES, unread, unread_note


def test_images_and_what_systems_leave_are_not_counted() -> None:
    names = [f"a/1{suffix}" for suffix in IMAGE_SUFFIXES] + [f"2{suffix.upper()}" for suffix in IMAGE_SUFFIXES]
    assert unread([*names, ".DS_Store", "a/._1.jpg", "Thumbs.db", "a/desktop.ini"]) == Counter()


def test_other_suffixes_are_counted_in_small_letters() -> None:
    assert unread(["1.HEIC", "a/2.heic", "b.psd", "b.jpg.txt", "no suffix"]) == Counter(
        {".heic": 2, ".psd": 1, ".txt": 1, "": 1}
    )


def test_nothing_is_said_of_images_and_what_systems_leave() -> None:
    assert unread_note("mine", ["1.jpg", ".DS_Store", "a/Thumbs.db"]) is None
    assert (
        unread_note("mine", ["1.jpg", "b.txt", "a/2.HEIC"])
        == "mine: 2 files are not read (1 .txt, 1 .heic), first a/2.HEIC"
    )
