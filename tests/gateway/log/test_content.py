"""Content opens in the row that it was sealed for, and in no other."""

import uuid

from accounts.encryption import Cipher, new_key
from gateway.log import content
from gateway.models import RequestContent, content_place

SAID = b'{"answer": "Hi"}'


def test_content_opens_only_in_the_row_of_its_request(caplog):
    cipher, own, other = Cipher(new_key()), uuid.uuid4(), uuid.uuid4()
    sealed = cipher.seal(SAID, content_place(own.hex))
    assert content.opened(RequestContent(id=own, sealed=sealed), cipher) == SAID
    assert content.opened(RequestContent(id=other, sealed=sealed), cipher) is None
    assert f"the content of request {other} is damaged" in caplog.text
