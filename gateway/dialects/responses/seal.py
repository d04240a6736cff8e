"""A model's reasoning, sealed so that the caller can keep it for the next request.

Kyma keeps no responses, and clients that don't rely on kept ones (`store: false`) send reasoning
back only as `encrypted_content`. It is sealed under the data key of the person who asked: nobody
else's request can open it, and nothing can once that key is destroyed.
"""

import base64
import binascii
from dataclasses import dataclass

from accounts.encryption import Cipher
from accounts.errors import SealBroken

_PLACE = "responses.reasoning"


@dataclass(frozen=True, slots=True)
class Seal:
    cipher: Cipher

    def close(self, thought: str) -> str:
        return base64.b64encode(self.cipher.seal(thought.encode(), _PLACE)).decode()

    def open(self, sealed: str) -> str:
        """Return the reasoning, or an empty string if somebody else sealed it or it was changed."""
        try:
            return self.cipher.open(base64.b64decode(sealed, validate=True), _PLACE).decode()
        except (binascii.Error, ValueError, SealBroken):
            return ""
