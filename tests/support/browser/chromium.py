"""Debian's Chromium for tests, cut off from every host but this machine's own site."""

import os
import shutil
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

HOST = "localhost"  # Passkeys want a name, and this is the one that may lack TLS.
FLAGS = [f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}", "--disable-gpu"]
INSTALL = "apt-get install -y chromium"


@contextmanager
def running():
    """A headless Chromium, through Playwright."""
    path = shutil.which("chromium")
    assert path, f"Browser tests need Chromium: {INSTALL}"
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
