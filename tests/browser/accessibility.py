"""What axe finds on a page, by the rules of WCAG 2.2 A and AA and axe's own best practices."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SEVERE = ("serious", "critical")


def axe(page: Page) -> list[str]:
    """The serious and critical violations on `page` as it stands, one line each."""
    found = Axe().run(page).response["violations"]
    return [_line(violation) for violation in found if violation["impact"] in SEVERE]


def _line(violation: dict) -> str:
    places = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
    return f"{violation['impact']} {violation['id']}: {violation['help']}: {places}"
