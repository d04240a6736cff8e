import pytest

from tests.gateway.conftest import committed, fake, scripted
from tests.live import Customer

__all__ = ["committed", "fake", "scripted"]


@pytest.fixture
def writer(scripted):
    """Somebody with a dollar, who chats: what is committed stays until the next flush."""
    return Customer(None, unlimited=True)
