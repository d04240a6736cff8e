"""What a model thought, sealed for its way through the caller's hands: Kyma keeps no responses, and
clients that are told so send back what was thought only if it is `encrypted_content`.

It is sealed under the data key of the person who asked: nobody else's request opens it, and once
that key is destroyed nothing does.
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
        """What was thought; nothing, if somebody else sealed it or it was changed."""
        try:
            return self.cipher.open(base64.b64decode(sealed, validate=True), _PLACE).decode()
        except (binascii.Error, ValueError, SealBroken):
            return ""
