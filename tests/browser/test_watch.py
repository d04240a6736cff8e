"""The watch is proof only if it sees what it should."""

import pytest

INLINE_SCRIPT = "document.head.append(Object.assign(document.createElement('script'), {text: '1'}))"
OTHER_HOST = "document.body.append(Object.assign(new Image(), {src: 'http://example.com/'}))"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("console.error('lost')", "lost"),
        ("setTimeout(() => { throw new Error('broke') })", "script failed: .*broke"),
        (INLINE_SCRIPT, "Content Security Policy"),
        ("fetch('/no-such-page')", "404"),
    ],
)
def test_it_sees_what_goes_wrong(page, script, problem):
    page.goto("/")
    with page.watch.allowing(problem):
        page.evaluate(f"() => {{ {script} }}")


def test_it_sees_requests_to_other_hosts(page):
    page.goto("/")
    with page.watch.allowing("request to another host"), page.watch.allowing("Content Security"):
        page.evaluate(f"() => {{ {OTHER_HOST} }}")
