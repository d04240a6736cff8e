import pytest
from asgiref.sync import sync_to_async

from chat import messages, replies, stored_replies
from tests.gateway.conftest import _process_with, patient_gateway, scripted

__all__ = ["_process_with", "patient_gateway", "scripted"]


@pytest.fixture(autouse=True)
def _no_turns(monkeypatch):
    """Django's test client has no event loop that outlives a request: replies begin, and end."""
    monkeypatch.setattr(replies, "send", sync_to_async(messages.say))
    monkeypatch.setattr(replies, "edit", sync_to_async(messages.edit))
    monkeypatch.setattr(replies, "regenerate", sync_to_async(messages.regenerate))
    monkeypatch.setattr(replies, "stop", sync_to_async(stored_replies.ask_to_stop))
