"""A headless Chromium for what scripts do on a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def missing() -> str | None:
    """Say what is missing for a browser; None where nothing is."""
    try:
        import playwright  # noqa: F401, PLC0415 - of the extra `dev`
    except ImportError:
        return "playwright is absent: pip install '.[dev]'"
    if _executable() is None and not _has_own():
        return "no Chromium was found: apt-get install chromium, or playwright install chromium, or set CAMLOC_CHROMIUM"
    return None


@contextmanager
def browser() -> Iterator["Browser"]:
    """Start a Chromium, the system's where there is one."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the extra `dev`

    with sync_playwright() as playwright:
        # Root has no sandbox for a browser, as in most containers; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=_executable(), args=arguments)
        try:
            yield chromium
        finally:
            chromium.close()


def _executable() -> str | None:
    return os.environ.get("CAMLOC_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def _has_own() -> bool:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the extra `dev`

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).is_file()
