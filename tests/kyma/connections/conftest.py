import pytest

from tests.support.doors import IMPATIENT
from tests.support.live import Gateway


@pytest.fixture(scope="session")
def _impatient_process(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(**IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def impatient(committed, _impatient_process):
    """A web process with short deadlines and small bounds."""
    return _impatient_process
