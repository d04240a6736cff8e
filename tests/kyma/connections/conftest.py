import pytest

from tests.gateway.conftest import live_route
from tests.support.doors import IMPATIENT
from tests.support.live import Gateway


@pytest.fixture
def scripted(committed, fake):
    """The route to the model "scripted", served by the fake provider."""
    return live_route("scripted", fake.base_url)


@pytest.fixture(scope="session")
def _impatient_process(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(**IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def impatient(committed, _impatient_process):
    """A web process with short deadlines and small bounds."""
    return _impatient_process
