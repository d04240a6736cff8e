"""Answers of chat and text completions as clients read them: chunk by chunk, or whole."""

import orjson

from gateway.dialects.chat import custom_tools
from gateway.dialects.chat.answer import index_of, state_finish_reason, tool_calls
from gateway.dialects.chat.chunks import Identity, error_chunk, own_chunk, usage_chunk
from gateway.errors import GatewayError
from gateway.wire import sse


class ChatStream:
    """A stream of mended chunks. Each message begins with its role and ends with a finish reason.

    Some providers leave the role out, and then OpenAI's package makes a message without one, which
    can't be sent back. A few send no finish reason at the end of a whole answer.
    """

    waiting = 0

    def __init__(self, identity: Identity, *, include_usage: bool):
        self._identity = identity
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._calling: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, chunk: dict) -> bytes:
        for choice in chunk["choices"]:
            index = index_of(choice)
            if index not in self._begun:
                self._begin(choice)
            if (delta := choice.get("delta")) and delta.get("tool_calls"):
                self._calling.add(index)
            if choice.get("finish_reason"):
                self._end(choice)
        return sse.event(orjson.dumps(chunk))

    def _begin(self, choice: dict) -> None:
        self._begun.add(index_of(choice))
        delta = choice.get("delta")
        if isinstance(delta, dict) and not delta.get("role"):
            choice["delta"] = {**delta, "role": "assistant"}

    def _end(self, choice: dict) -> None:
        index = index_of(choice)
        self._ended.add(index)
        state_finish_reason(choice, called=index in self._calling)

    def ping(self) -> bytes:
        return sse.KEEP_ALIVE

    def finish(self, usage: dict) -> bytes:
        written = self._end_all()
        if self._include_usage:
            written += sse.event(orjson.dumps(usage_chunk(self._identity, usage)))
        return written + sse.DONE

    def _end_all(self) -> bytes:
        """Return a chunk that ends the answers for which the provider sent no finish reason."""
        nothing = self._identity.endpoint.says_nothing
        choices = [
            {"index": index, **nothing, "finish_reason": None}
            for index in sorted(self._begun - self._ended)
        ]
        for choice in choices:
            self._end(choice)
        ends = {"choices": choices}
        own = own_chunk(ends, self._identity, include_usage=self._include_usage)
        return sse.event(orjson.dumps(own)) if own else b""

    def fail(self, error: GatewayError) -> bytes:
        return sse.event(orjson.dumps(error_chunk(self._identity, error)))


class CustomToolStream(ChatStream):
    """A stream of chat whose caller offers custom tools. Calls of them are sent when complete."""

    def __init__(self, identity: Identity, *, include_usage: bool, names: frozenset[str]):
        super().__init__(identity, include_usage=include_usage)
        self._held = custom_tools.HeldCalls(names)

    def feed(self, chunk: dict) -> bytes:
        ended = [index_of(choice) for choice in chunk["choices"] if choice.get("finish_reason")]
        chunk["choices"] = [choice for choice in chunk["choices"] if self._says(choice)]
        written = self._release(ended)
        self.waiting = self._held.waiting
        return written + super().feed(chunk) if chunk["choices"] else written

    def _says(self, choice: dict) -> bool:
        """True when a choice still holds something after calls of custom tools are held back."""
        delta = choice.get("delta") or {}
        calls = self._held.take(index_of(choice), tool_calls(delta))
        rest = {name: member for name, member in delta.items() if name != "tool_calls"}
        choice["delta"] = rest | ({"tool_calls": calls} if calls else {})
        left = (choice.get("finish_reason"), choice.get("logprobs"), *choice["delta"].values())
        return index_of(choice) not in self._begun or any(left)

    def _release(self, owners: list[int]) -> bytes:
        """Return a chunk with the held calls of these answers, or nothing if there are none."""
        released = {"choices": self._held.release(owners)}
        own = own_chunk(released, self._identity, include_usage=self._include_usage)
        return super().feed(own) if own else b""

    def finish(self, usage: dict) -> bytes:
        return self._release(self._held.owners) + super().finish(usage)


def whole_chat(answer: dict, usage: dict, body: dict) -> dict:
    whole = whole_text(answer, usage, body)
    if names := custom_tools.names_in(body):
        whole["choices"] = [custom_tools.calling(choice, names) for choice in whole["choices"]]
    return whole


def whole_text(answer: dict, usage: dict, _: dict) -> dict:
    for choice in answer["choices"]:
        if choice.get("finish_reason"):
            calls = (choice.get("message") or {}).get("tool_calls")
            state_finish_reason(choice, called=bool(calls))
    return {**answer, "usage": usage}
