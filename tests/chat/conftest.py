import pytest

from tests.gateway.conftest import scripted
from tests.support.live import Customer

__all__ = ["scripted"]


@pytest.fixture
def writer(scripted):
    """Somebody with a dollar, who chats: what is committed stays until the next flush."""
    return Customer(None, unlimited=True)
