"""The fixtures of every test: the databases, the cast, and seeds that can be repeated.

A test asks for `books` to use both databases inside a transaction that is rolled back, or for
`committed_books` to see real commits, which other threads and processes see too.
"""

import gc
import random
import signal

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.test import TransactionTestCase

from accounts.models import User
from gateway.models import Provider, WebProcess
from tests.support import databases, engines
from tests.support.factories import make_account, make_user
from tests.support.provider.fake import FakeProvider

DATABASES = ["default", "keyring"]
USD = 1_000_000_000  # nano-dollars


# --- This process and those that it starts ------------------------------------------------------


def pytest_sessionstart():
    _let_ctrl_c_be_heard()
    # Here, and not in the settings: the processes that a test starts have a loop that stays.
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.support.one_loop.OneLoop"]
    # Each test client would read all static files.
    settings.WHITENOISE_AUTOREFRESH = True


def _let_ctrl_c_be_heard() -> None:
    """A shell has it ignored by what runs in the background, and so by what tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Spare the collector all that stays: it took a tenth of the time to search it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


# --- Seeds ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Give Hypothesis a seed that can be printed, before its plugin reads the option."""
    hypothesis.settings.register_profile("kyma", deadline=None)  # A machine may be slow.
    hypothesis.settings.load_profile("kyma")
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.SystemRandom().getrandbits(64))


def pytest_report_header(config):
    return f"Hypothesis seed: --hypothesis-seed={config.option.hypothesis_seed}"


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """After a failure, say how to run the same again: a quiet run prints no header."""
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(
            f"To repeat this run: --randomly-seed={config.getoption('randomly_seed', None)}"
            f" --hypothesis-seed={config.option.hypothesis_seed}"
        )


# --- How long the tests of `make endurance` took --------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if session.config.option.markexpr == "endurance":
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.section("Endurance")
        for outcome in ("passed", "failed"):
            for report in reporter.getreports(outcome):
                if report.when == "call":
                    reporter.write_line(f"{report.duration:7.0f} s  {outcome}  {report.nodeid}")
                    for _, seen in report.user_properties:
                        reporter.write_line(f"{'':11}{seen}")


# --- Engines -------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)  # Before options select by these marks.
def pytest_collection_modifyitems(config, items):
    for item in items:
        engines.mark(item)
    if connections["default"].vendor == "sqlite":
        return
    ours, others = [], []
    for item in items:
        (ours if engines.is_for_postgres(item) else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = ours


# --- Databases -----------------------------------------------------------------------------------


def empty_databases(test_case=None) -> None:
    for database in DATABASES:
        databases.empty(database)


TransactionTestCase._fixture_teardown = empty_databases  # In place of Django's flush.


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_modify_db_settings, django_db_blocker):
    """Both databases, whatever the collected tests say that they need."""
    with django_db_blocker.unblock():
        databases.use_copies()
    yield
    with django_db_blocker.unblock():
        databases.close()


def start_anew() -> None:
    """Empty both databases, if tests of running gateways have left rows behind."""
    if any(model.objects.exists() for model in (User, Provider, WebProcess)):
        empty_databases()


@pytest.fixture
def _empty_books(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        start_anew()


@pytest.fixture
def books(request, _empty_books):
    """Both databases, inside a transaction that is rolled back after the test."""
    request.applymarker(pytest.mark.django_db(databases=DATABASES))
    request.getfixturevalue("db")


@pytest.fixture
def committed_books(request, _empty_books):
    """Both databases with real commits, emptied after the test. Slow: only where it matters."""
    request.applymarker(pytest.mark.django_db(databases=DATABASES, transaction=True))
    request.getfixturevalue("transactional_db")


@pytest.fixture
def committed(django_db_setup, django_db_blocker):
    """The database with real commits that are left where they are."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def _some_books(request):
    """The databases in the way that the test asks for; by default `books`."""
    asked = [name for name in ("committed_books", "committed") if name in request.fixturenames]
    if asked or not request.node.get_closest_marker("django_db"):
        request.getfixturevalue(asked[0] if asked else "books")


@pytest.fixture(autouse=True)
def _no_attempts_yet():
    """Limits on attempts start at zero in each test."""
    cache.clear()


# --- The cast ------------------------------------------------------------------------------------


@pytest.fixture
def alice(_some_books):
    """Has credit: ten dollars."""
    user = make_user("alice@example.org")
    make_account(user, balance_nano=10 * USD)
    return user


@pytest.fixture
def bob(_some_books):
    """Has an account and no credit; nothing of alice's is his to see."""
    user = make_user("bob@example.org")
    make_account(user)
    return user


@pytest.fixture
def carol(_some_books):
    """Is being erased: her account still holds a dollar, her keys are ended."""
    user = make_user("carol@example.org", state="erasing")
    make_account(user, balance_nano=USD)
    return user


@pytest.fixture(scope="session")
def fake():
    """The scripted provider, one for all tests."""
    with FakeProvider() as provider:
        yield provider
