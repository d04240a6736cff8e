"""A provider that costs next to nothing, so that a measurement shows the proxy before it.

It speaks just enough HTTP/1.1 for the measured programs. The model's name in the body chooses the
script; its answer is prepared once.

    python -m benchmarks.upstream PORT
"""

import asyncio
import dataclasses
import json
import sys

import uvloop

END_OF_HEAD = b"\r\n\r\n"
PROMPT_TOKENS, WORD = 12, "token "


@dataclasses.dataclass(frozen=True)
class Script:
    """The answer of a model: whole after `delay_s`, or in `events`, one each `interval_s`."""

    delay_s: float = 0.0
    events: int = 0
    interval_s: float = 0.0


SCRIPTS = {
    "plain": Script(),
    "slow": Script(delay_s=0.1),
    "probe": Script(events=1),
    "brisk": Script(events=600, interval_s=0.02),
    "steady": Script(events=1200, interval_s=0.1),
}


def _usage(completion_tokens: int) -> dict:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
    }


def _object(kind: str, **members) -> dict:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "up", **members}


def whole_answer() -> bytes:
    message = {"role": "assistant", "content": WORD * 20}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps(_object("chat.completion", choices=[choice], usage=_usage(20))).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + END_OF_HEAD + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _http_chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def _event(**members) -> bytes:
    chunk = json.dumps(_object("chat.completion.chunk", **members))
    return _http_chunk(b"data: " + chunk.encode() + b"\n\n")


def content_event() -> bytes:
    delta = {"role": "assistant", "content": WORD}
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


def last_events(script: Script) -> bytes:
    """Return the end of a stream: finish reason, usage, [DONE]."""
    return (
        _event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        + _event(choices=[], usage=_usage(script.events))
        + _http_chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )


WHOLE, EVENT = whole_answer(), content_event()
ENDS = {name: last_events(script) for name, script in SCRIPTS.items()}


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time, for clients that don't pipeline."""

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_lost(self, error) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(END_OF_HEAD)
        if separator and len(body) >= _content_length(head):
            self._received = b""
            self._answer(model_of(body))

    def _answer(self, name: str) -> None:
        script = SCRIPTS[name]
        self._due = asyncio.get_running_loop().time()
        if script.events:
            self._transport.write(STREAM_HEAD)
            self._send_event(name, script, script.events)
        elif script.delay_s:
            self._later(script.delay_s, self._transport.write, WHOLE)
        else:
            self._transport.write(WHOLE)

    def _send_event(self, name: str, script: Script, left: int) -> None:
        if not left:
            self._transport.write(ENDS[name])
            return
        self._transport.write(EVENT)
        self._later(script.interval_s, self._send_event, name, script, left - 1)

    def _later(self, delay_s: float, callback, *arguments) -> None:
        """Schedule relative to the last due time, not to now.

        Otherwise streams that were late together would stay in step, unlike those of real people.
        """
        self._due += delay_s
        self._timer = asyncio.get_running_loop().call_at(self._due, callback, *arguments)


def _content_length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"content-length:")
    return int(after.partition(b"\r\n")[0] or 0)


def model_of(body: bytes) -> str:
    """Return the script's name, which is the model that the body asks for."""
    return json.loads(body)["model"].rpartition("/")[2]


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
