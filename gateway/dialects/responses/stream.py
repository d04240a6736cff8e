"""A streamed chat answer, as the events of OpenAI's Responses API.

The events are response.created and response.in_progress; per output item
response.output_item.added, its parts and deltas, response.output_item.done; at the end one of
response.completed, response.incomplete, response.failed. Sequence numbers rise by one from 0.
"""

import orjson

from gateway.dialects.chat.answer import index_of
from gateway.dialects.responses.answer import echo, ending, header, suffix_of, wanted
from gateway.dialects.responses.output import Output
from gateway.dialects.responses.seal import Seal
from gateway.errors import GatewayError, InvalidRequest, TooManyRequests
from gateway.wire import sse


class ResponseStream:
    """Writes the events of one answer: `start`, `feed` for each chunk, then `finish` or `fail`.

    The chunks are mended.
    """

    def __init__(self, request: dict, seal: Seal | None = None):
        self._echo = echo(request)
        self._wanted = wanted(request, seal)
        self._sequence_number = 0
        self._written: list[bytes] = []
        self._finish_reason: object = None

    def start(self, *, id: str, created: int, model: str) -> bytes:
        """`id`, `created` and `model` are those of the chunks."""
        self._header = header(id, created, model)
        self._output = Output(suffix_of(id), self._emit, self._wanted)
        self._emit_response("response.created")
        self._emit_response("response.in_progress")
        return self._take()

    @property
    def waiting(self) -> int:
        """The bytes of content in calls that have no name yet, or must be whole first."""
        return self._output.waiting

    def feed(self, chunk: dict) -> bytes:
        for choice in chunk.get("choices") or ():
            if index_of(choice) != 0:
                continue
            self._output.add(choice.get("delta") or {}, choice.get("logprobs"))
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return self._take()

    def finish(self, usage: dict) -> bytes:
        """`usage` is chat's usage object."""
        ended = ending(self._output, self._finish_reason, usage)
        self._emit_response(f"response.{ended['status']}", **ended)
        return self._take()

    def fail(self, error: GatewayError) -> bytes:
        self._output.break_off()
        reason = {
            "code": _code_of(error),
            "message": error.message,
            "param": error.param,
            "type": error.type,
        }
        output = self._output.items()
        self._emit_response("response.failed", status="failed", error=reason, output=output)
        return self._take()

    def ping(self) -> bytes:
        """Return a comment, which every client skips."""
        return sse.KEEP_ALIVE

    def _emit_response(self, name: str, **members: object) -> None:
        self._emit(name, {"response": self._header | self._echo | members})

    def _emit(self, name: str, said: dict) -> None:
        event = {"type": name, "sequence_number": self._sequence_number, **said}
        self._sequence_number += 1
        self._written.append(b"event: " + name.encode() + b"\n" + sse.event(orjson.dumps(event)))

    def _take(self) -> bytes:
        written = b"".join(self._written)
        self._written.clear()
        return written


def _code_of(error: GatewayError) -> str:
    """Return one of the few codes that a failed response may have."""
    if isinstance(error, TooManyRequests):
        return "rate_limit_exceeded"
    return "invalid_prompt" if isinstance(error, InvalidRequest) else "server_error"
