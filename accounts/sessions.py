"""Sessions in the database, sealed.

A session holds secrets: the code that was just mailed, the seed of an authenticator app that is
being set up, the key of a password reset.
"""

import base64

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from accounts.encryption import open_under_master_key, seal_under_master_key
from accounts.errors import SealBroken

PLACE = "sessions.Session"


class SessionStore(DatabaseStore):
    def encode(self, session_dict: dict) -> str:
        plain = self.serializer().dumps(session_dict)
        return base64.b64encode(seal_under_master_key(plain, PLACE)).decode()

    def decode(self, session_data: bytes | str) -> dict:
        """Return the session's data. If it can't be opened it is empty, so the person signs in."""
        try:
            plain = open_under_master_key(base64.b64decode(session_data), PLACE)
            return self.serializer().loads(plain)
        except (SealBroken, ValueError):
            return {}

    @classmethod
    def get_model_class(cls):
        from django.contrib.sessions.models import Session

        return Session
