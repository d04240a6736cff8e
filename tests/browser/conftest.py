"""One Chromium and one Kyma for all browser tests; for each test a page of its own, watched.

They run on SQLite only: what a browser shows doesn't depend on the database. They come last,
because Playwright leaves an event loop running in this thread for the rest of the session.
"""

import os

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from tests.browser import chromium
from tests.browser.watch import Watch
from tests.live import PATIENT, Gateway

TIMEOUT_MS = 20_000


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
    with django_db_blocker.unblock(), Gateway(**PATIENT) as gateway:
        gateway.url = f"http://{chromium.HOST}:{gateway.port}"
        yield gateway


@pytest.fixture(scope="session")
def browser(site):
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


@pytest.fixture
def signed_in(site):
    """Makes whoever looks at `page` the signed-in `user`: `signed_in(page, user)`."""

    def signed_in(page, user):
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site.url}])
        return page

    return signed_in
