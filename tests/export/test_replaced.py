"""Files that are replaced whole, in directories that others made."""

from pathlib import Path

from camloc.export.replaced import replaced


def test_a_link_at_the_place_of_the_new_file_is_not_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / ".a.txt.partial").symlink_to(elsewhere)
    with replaced(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()
    assert elsewhere.read_text() == "precious"
