"""What axe finds on a page, by the rules of WCAG 2.2 A and AA and axe's own best practices."""

import functools

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.support.browser.looks import SCHEMES

SEVERE = ("serious", "critical")
COLOURS = ("cat.color",)  # axe's tag for the rules that see colours
# Halfway from one scheme to the other no colour is the one that is meant.
COLOURS_AT_REST = """() => Promise.all(
  document.getAnimations().filter(one => one.transitionProperty).map(one => one.finished)
)"""
OVERFLOW_PX = "document.documentElement.scrollWidth - window.innerWidth"
# Each table that is wider than its frame, and by how much. What is folded away is unfolded for it.
WIDE_TABLES = """() => {
  for (const one of document.querySelectorAll("details:has(table)")) one.open = true;
  return [...document.querySelectorAll("table")].map(table => {
    const frame = table.closest(".scroll") ?? table.parentElement;
    const px = frame.scrollWidth - frame.clientWidth;
    return px > 0 ? `${px} px of a table hidden: ${table.innerText.slice(0, 40)}` : "";
  }).filter(Boolean);
}"""


def axe(page: Page) -> list[str]:
    """The serious and critical violations on `page` as it stands, one line each."""
    page.evaluate(_script())
    return _violations(page)


def faults(page: Page) -> list[str]:
    """What is wrong with `page`: by axe in the light and in the dark, and what is too wide.

    A table shows all its columns: no sideways scrolling in its frame, on a phone neither.
    """
    return axe_by_any_light(page) + too_wide(page)


def too_wide(page: Page) -> list[str]:
    px = page.evaluate(OVERFLOW_PX)
    return [f"{px} px too wide"] * (px > 0) + page.evaluate(WIDE_TABLES)


def axe_by_any_light(page: Page, **options) -> list[str]:
    """What axe says in the light and in the dark; `options` are those of `axe.run`.

    The second time only for rules about colours: nothing else depends on the scheme.
    """
    page.evaluate(_script())
    found = []
    for number, scheme in enumerate(SCHEMES):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(COLOURS_AT_REST)
        violations = _violations(page, tags=COLOURS if number else (), **options)
        found += [f"{scheme}: {violation}" for violation in violations]
    page.emulate_media(color_scheme="light")
    return found


def _violations(page: Page, tags: tuple[str, ...] = (), **options) -> list[str]:
    options["resultTypes"] = ["violations"]
    if tags:
        options["runOnly"] = {"type": "tag", "values": tags}
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    return [_line(violation) for violation in found if violation["impact"] in SEVERE]


@functools.cache
def _script() -> str:
    return Axe().axe_script


def _line(violation: dict) -> str:
    places = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
    return f"{violation['impact']} {violation['id']}: {violation['help']}: {places}"
