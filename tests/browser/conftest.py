"""One Chromium and one Kyma for all browser tests; for each test a page of its own, watched.

They run on SQLite only: what a browser shows doesn't depend on the database. They come last,
because Playwright leaves an event loop running in this thread for the rest of the session.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections
from playwright.sync_api import expect

from tests.conftest import start_anew
from tests.gateway.conftest import live_route
from tests.support.account_pages import just_signed_in
from tests.support.browser import chromium
from tests.support.browser.moments import moments as all_moments
from tests.support.browser.visitors import Visitor, everybody
from tests.support.browser.watch import Watch
from tests.support.live import Gateway

TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)  # By itself it waits for five seconds.


def apart(make: Callable):
    """What `make` returns, called in a thread where no loop runs: Playwright's runs in this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            return thread.submit(make).result()
        finally:
            thread.submit(connections.close_all).result()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if "browser" in item.path.parts]
    items[:] = [item for item in items if item not in ours]
    if connection.vendor == "sqlite":
        items.extend(ours)
    elif ours:
        config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def site(django_db_setup, django_db_blocker):
    """The web process whose pages the browser visits: `site.url`."""
    with django_db_blocker.unblock():
        start_anew()
    with django_db_blocker.unblock(), Gateway() as gateway:
        gateway.url = f"http://{chromium.HOST}:{gateway.port}"
        yield gateway


@pytest.fixture(scope="session")
def browser(site, visitors):
    """One Chromium. The visitors come first: the demo is made before any other account."""
    # Before Playwright: Django refuses the database to code below a running event loop, which
    # Playwright's own loop looks like. The web process isn't told.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with chromium.running() as browser:
        yield browser
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def watch(committed, browser, site):
    """Whoever makes a context of their own has it watched: `watch(context)`."""
    watches = []

    def watch(context) -> Watch:
        watches.append(Watch(context, site.url))
        return watches[-1]

    yield watch
    assert [problem for one in watches for problem in one.problems] == []


@pytest.fixture
def open_page(browser, site, watch):
    """Opens a page in a fresh context: `open_page(viewport=…, color_scheme=…)`.

    `page.watch.allowing(pattern)` is for what is meant to go wrong.
    """
    contexts = []

    def open_page(**options):
        context = browser.new_context(base_url=site.url, **options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        problems = watch(context)
        page = context.new_page()
        page.watch = problems
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page):
    """A page of somebody who isn't signed in, on a desktop, in the light."""
    return open_page()


@pytest.fixture(scope="session")
def visitors(site, scripted_model, django_db_blocker):
    """One of each who comes, on a site with three days of usage."""
    with django_db_blocker.unblock():
        yield apart(lambda: everybody(days=3, a_day=24))


@pytest.fixture(scope="session")
def scripted_model(site, fake, django_db_blocker):
    """What every visitor finds: the model "scripted"."""
    with django_db_blocker.unblock():
        yield live_route("scripted", fake.base_url)


@pytest.fixture(scope="session")
def moments(visitors, django_db_blocker):
    """The pages that no address shows: pairs of name and answer."""
    with django_db_blocker.unblock():
        yield apart(lambda: list(all_moments()))


@pytest.fixture
def show(site):
    """Shows an answer that was made here as if the site had given it: `show(page, answer)`."""
    place = f"{site.url}/shown"

    def show(page, answer):
        page.route(
            place, lambda route: route.fulfill(body=answer.content, content_type="text/html")
        )
        page.goto(place)
        page.unroute(place)

    return show


@pytest.fixture
def become(site):
    """Makes whoever looks at `page` that visitor: `become(page, visitor)`."""

    def become(page, visitor):
        for name, value in visitor.cookies.items():
            page.context.add_cookies([{"name": name, "value": value, "url": site.url}])
        return page

    return become


@pytest.fixture
def signed_in(become):
    """Makes whoever looks at `page` the `user`, signed in just now: `signed_in(page, user)`."""
    return lambda page, user: become(page, Visitor("", just_signed_in(user)))
