"""A request for embeddings and the vectors that a provider answers with, both checked.

Kyma always asks providers for floats. It writes base64, which OpenAI's own client asks for, itself,
so that the encoding is the same for every provider.
"""

import base64
import math
import struct
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.dialects import request as provider_request
from gateway.dialects.chat.fields import KEPT, ROUTING
from gateway.dialects.chat.fields import READ as CHAT_READ
from gateway.dialects.chat.messages import size_of
from gateway.dialects.prompts import Inputs, inputs
from gateway.dialects.request import Endpoint, FieldTable, ProviderRequest
from gateway.failures import Declined, Garbled
from gateway.wire.checks import Check, integer, one_of

MAX_INPUTS = 2048
MAX_DIMENSIONS = 65536
FIELD_OF_WISH = "dimensions"

FORWARDED: dict[str, Check] = {FIELD_OF_WISH: integer(1, MAX_DIMENSIONS)}
READ: dict[str, Check] = {
    "model": CHAT_READ["model"],
    "input": inputs(MAX_INPUTS),
    "encoding_format": one_of("float", "base64"),
    "usage": CHAT_READ["usage"],
    **KEPT,
}
TABLE = FieldTable(FORWARDED, READ, ROUTING, required=("model", "input"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest(ProviderRequest):
    endpoint: ClassVar[Endpoint] = provider_request.EMBEDDINGS

    input: Any

    @property
    def content(self) -> dict[str, Any]:
        return {"input": self.input, "encoding_format": "float"}

    def accepted(self, answer: dict) -> dict:
        """Return a vector for each input, in order and all of one length. Raises UpstreamFailed."""
        data = answer.get("data")
        if type(data) is not list or not all(type(item) is dict for item in data):
            raise Garbled(status=200)
        vectors = {_index(item, place): item.get("embedding") for place, item in enumerate(data)}
        if len(data) != self.prompts or vectors.keys() != set(range(self.prompts)):
            raise Garbled(status=200)
        in_order = [vectors[index] for index in range(self.prompts)]
        if not all(map(_is_vector, in_order)) or len(set(map(len, in_order))) != 1:
            raise Garbled(status=200)
        self._check_dimensions(len(in_order[0]))
        return {"vectors": in_order, "usage": answer.get("usage")}

    def _check_dimensions(self, found: int) -> None:
        if self.fields.get(FIELD_OF_WISH, found) != found:
            raise Declined(
                status=400,
                message=f"This model's vectors have {found} dimensions, and its provider doesn't "
                "shorten them: leave out `dimensions`.",
            )

    def said(self, answer: dict) -> Any:
        # The vectors follow from the logged inputs, and are a hundred times as large as these.
        vectors = answer["vectors"]
        return {"embeddings": len(vectors), "dimensions": len(vectors[0])}


def parse(body: dict) -> EmbeddingRequest:
    """Read a body that wire.body.parse returned. Raises InvalidRequest."""
    found = TABLE.sort(body)
    read = found.read
    size = Inputs.of(read["input"])
    return EmbeddingRequest(
        **found.common(),
        input=read["input"],
        max_tokens=0,
        n=0,
        prompts=size.count,
        text_bytes=size.text_bytes + sum(size_of(value) for value in found.unknown.values()),
        token_ids=size.token_ids,
    )


def embedding_list(answer: dict, usage: dict, request: dict) -> dict:
    """Return the embeddings object of an accepted answer, in the caller's `encoding_format`."""
    encode = _base64 if request.get("encoding_format") == "base64" else list
    return {
        "object": "list",
        "id": answer["id"],
        "model": answer["model"],
        "provider": answer["provider"],
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(answer["vectors"])
        ],
        "usage": {name: usage[name] for name in ("prompt_tokens", "total_tokens", "cost")},
    }


def _index(item: dict, place: int) -> Any:
    """Return the item's `index`, by default its place in the list; None if it is no integer."""
    index = item.get("index", place)
    return index if type(index) is int else None


def _is_vector(value: Any) -> bool:
    """True when the value is a filled list of finite numbers that fit into 32 bits."""
    if type(value) is not list or not value or not set(map(type, value)) <= {float, int}:
        return False
    try:
        _packed(value)
    except (OverflowError, struct.error):
        return False
    # Numbers of 32 bits are too small for their sum to overflow: only a NaN or an infinity among
    # them makes it not finite.
    return math.isfinite(sum(value))


def _base64(vector: list[float]) -> str:
    return base64.b64encode(_packed(vector)).decode()


def _packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)
