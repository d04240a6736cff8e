"""Hostile answers in a real browser, without the content security policy: the sanitiser alone.

The watch of every page sees to it that nothing asks another host, and that no script fails.
"""

import pytest

from chat.markdown import render
from tests.support.chat.hostile import RUN, payloads
from tests.support.chat.streaming import Streaming

PATH = "/hostile"
PAYLOADS = [text for texts in payloads().values() for text in texts]


@pytest.fixture
def bare(page):
    """A page of the site that no policy guards."""
    page.route(f"**{PATH}", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(PATH)
    return page


def hacked(page, html: str, *, parsed: bool) -> bool:
    """Whether `html` ran a script: parsed with the page, or put into it as the chat does."""
    if parsed:
        page.set_content(f"<!doctype html><body>{html}")
    else:
        page.evaluate("html => { document.body.innerHTML = html }", html)
    page.wait_for_timeout(200)  # What runs later, as on load or on error.
    return page.evaluate("window.hacked !== undefined")


@pytest.mark.parametrize("parsed", [True, False])
def test_the_check_itself_sees_a_script_that_runs(bare, parsed):
    assert hacked(bare, f'<img src="data:," onerror="{RUN}">', parsed=parsed)


@pytest.mark.parametrize("parsed", [True, False])
def test_whole_answers_run_nothing(bare, parsed):
    assert not hacked(bare, "".join(map(render, PAYLOADS)), parsed=parsed)


def test_answers_that_are_cut_anywhere_run_nothing(bare):
    """A third, a half and two thirds of each, as the browser gets them one after the other."""
    shown = []
    for text in PAYLOADS:
        streaming = Streaming()
        for border in (len(text) // 3, len(text) // 2, len(text) * 2 // 3, len(text)):
            update = streaming.update(text[:border])
            shown += [update.closed, update.open]
    assert not hacked(bare, "".join(shown), parsed=False)
