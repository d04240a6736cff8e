"""Refusals that no view gives, in the form that clients of a path expect."""

import dataclasses
import json

from accounts.ids import dashed, uuid7
from gateway.errors import GatewayError
from gateway.v1.handler import CORS, error_response
from gateway.v1.urls import WITHOUT_VERSION
from kyma.api import problems


def is_for_gateway(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/") or path in WITHOUT_VERSION


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of(cls, error: GatewayError, path: str) -> "Refusal":
        """Return the answer to a request whose connection ends with it."""
        headers = {**error.headers, "Connection": "close"}
        cors = CORS if is_for_gateway(path) else []
        if is_for_gateway(path):
            response = error_response(error, path, dashed(uuid7().hex))
            headers |= dict(response.items())
            body = response.content
        elif problems.is_for_programs(path):
            headers["Content-Type"] = problems.CONTENT_TYPE
            body = json.dumps(problems.body(error.status, error.message, str(error.code))).encode()
        else:
            headers["Content-Type"] = "text/plain; charset=utf-8"
            body = error.message.encode()
        headers["Content-Length"] = str(len(body))
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return cls(error.status, pairs + cors, body)

    async def send(self, send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})
