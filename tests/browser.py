"""A real browser over Prefect's own pages: Debian's Chromium, without a window."""

from __future__ import annotations

import contextlib
import shutil

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: A page asks the server many things, and this machine may be busy.
_PATIENCE = 90_000
_HOLDS_ALL = "words => words.every(word => document.body.innerText.includes(word))"


def executable():
    """The browser's program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab.

    Args:
        tab: Playwright's page.
        ui: Where Prefect's pages are.
        pictures: Where pictures are kept; None for nowhere.
    """

    def __init__(self, tab, ui, pictures=None):
        self.tab, self.ui, self.pictures = tab, ui, pictures

    def read(self, path, *words):
        """Open a page, wait until it shows all these words, and return its text."""
        self.tab.goto(f"{self.ui}{path}", timeout=_PATIENCE)
        self.wait(*words)
        return self.text()

    def wait(self, *words):
        """Wait until the page shows all these words."""
        try:
            self.tab.wait_for_function(_HOLDS_ALL, arg=list(words), timeout=_PATIENCE)
        except Exception as failure:
            missing = [word for word in words if word not in self.text()]
            raise AssertionError(f"{self.tab.url} lacks {missing}; it shows:\n{self.text()}") from failure

    def text(self):
        return self.tab.inner_text("body")

    def click(self, text):
        self.tab.get_by_text(text, exact=True).first.click()

    def keep(self, name):
        """Keep a picture of what is shown."""
        if self.pictures:
            self.tab.wait_for_timeout(1500)  # what moves comes to rest; nothing is asserted on it
            self.tab.screenshot(path=self.pictures / f"{name}.png")


@contextlib.contextmanager
def browser(ui, pictures=None, size=(1280, 900)):
    """Start a browser."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox", "--disable-gpu"])
        try:
            tab = program.new_page(viewport={"width": size[0], "height": size[1]})
            tab.route("**/decorative*", lambda route: route.abort())  # the dots behind a page double a picture's size
            yield Browser(tab, ui, pictures)
        finally:
            program.close()
