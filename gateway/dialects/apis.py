"""The APIs in which Kyma is asked: how each is read as a request to a provider, and answered."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import orjson

from accounts.encryption import Cipher
from gateway.dialects import embeddings as embedding_request
from gateway.dialects import text as text_request
from gateway.dialects.anthropic import api as anthropic_api
from gateway.dialects.anthropic.message import spoken, thought_in, tool_calls
from gateway.dialects.chat import custom_tools, finish_reasons
from gateway.dialects.chat import request as chat_request
from gateway.dialects.request import AGENT_MAX_TOKENS, ProviderRequest
from gateway.dialects.responses import answer as responses_answer
from gateway.dialects.responses.request import chat_body as responses_chat_body
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.stream import ResponseStream
from gateway.errors import GatewayError
from gateway.providers.metering import index_of
from gateway.serving import relay
from gateway.serving.relay import Identity
from gateway.wire import sse


class Stream(Protocol):
    """Writes the events of one answer.

    `waiting` is the number of bytes of content that it was fed and can't write, or not yet.
    """

    @property
    def waiting(self) -> int: ...

    def feed(self, chunk: dict) -> bytes:
        """One chunk; nothing, if it has to wait for what follows."""

    def ping(self) -> bytes:
        """Something that keeps a silent stream alive."""

    def finish(self, usage: dict) -> bytes:
        """How a stream ends that is complete and settled."""

    def fail(self, error: GatewayError) -> bytes:
        """How a stream ends that isn't."""


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """What a stream begins from: who answers, what was asked, and how long about the prompt is."""

    identity: Identity
    request: ProviderRequest
    body: dict
    prompt_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """`read` takes the caller's body; `whole` answer, usage and that body; `open` gives a stream's
    first bytes too.

    `api` is its name in the request log, `prompt_field` the field that a long prompt is in.
    """

    api: str
    read: Callable[[dict], ProviderRequest]
    whole: Callable[[dict, dict, dict], dict]
    open: Callable[[Opening], tuple[Stream, bytes]]
    prompt_field: str = "messages"
    sealing: Callable[[Cipher], "Dialect"] | None = None

    def under(self, cipher: Cipher) -> "Dialect":
        """The same for one person, whose cipher seals what is to come back unread."""
        return self.sealing(cipher) if self.sealing else self


class ChatStream:
    """A stream of chat or text: the chunks as they are, but a message begins with its role, has its
    content as text and what was thought in `reasoning`, and ends for one of OpenAI's reasons.

    Some providers leave the role out, and then OpenAI's package makes a message of it that has
    none, which can't be sent back. A few say of an answer that is whole no reason why it ended.
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
            if delta := choice.get("delta"):
                # Most have neither, and a call would cost each of them.
                if type(delta.get("content")) is list or "reasoning_content" in delta:
                    _speak_plainly(delta)
                if delta.get("tool_calls"):
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
        finish_reasons.tell(choice, called=index in self._calling)

    def ping(self) -> bytes:
        return sse.KEEP_ALIVE

    def finish(self, usage: dict) -> bytes:
        written = self._end_all()
        if self._include_usage:
            written += sse.event(orjson.dumps(relay.usage_chunk(self._identity, usage)))
        return written + sse.DONE

    def _end_all(self) -> bytes:
        """A chunk that ends the answers which nothing has ended, if there are any."""
        nothing = self._identity.endpoint.says_nothing
        choices = [
            {"index": index, **nothing, "finish_reason": None}
            for index in sorted(self._begun - self._ended)
        ]
        for choice in choices:
            self._end(choice)
        ends = {"choices": choices}
        own = relay.own_chunk(ends, self._identity, include_usage=self._include_usage)
        return sse.event(orjson.dumps(own)) if own else b""

    def fail(self, error: GatewayError) -> bytes:
        return sse.event(orjson.dumps(relay.error_chunk(self._identity, error)))


class CustomToolStream(ChatStream):
    """A stream of chat whose caller offers custom tools: calls of these are told once they are
    whole.
    """

    def __init__(self, identity: Identity, *, include_usage: bool, names: frozenset[str]):
        super().__init__(identity, include_usage=include_usage)
        self._custom = custom_tools.StreamedCalls(names)

    def feed(self, chunk: dict) -> bytes:
        ended = [index_of(choice) for choice in chunk["choices"] if choice.get("finish_reason")]
        chunk["choices"] = [choice for choice in chunk["choices"] if self._says(choice)]
        written = self._tell(ended)
        self.waiting = self._custom.waiting
        return written + super().feed(chunk) if chunk["choices"] else written

    def _says(self, choice: dict) -> bool:
        """Whether anything is left in it once calls of custom tools are held back."""
        delta = choice.get("delta") or {}
        calls = self._custom.take(index_of(choice), tool_calls(delta))
        rest = {name: member for name, member in delta.items() if name != "tool_calls"}
        choice["delta"] = rest | ({"tool_calls": calls} if calls else {})
        left = (choice.get("finish_reason"), choice.get("logprobs"), *choice["delta"].values())
        return index_of(choice) not in self._begun or any(left)

    def _tell(self, owners: list[int]) -> bytes:
        """A chunk with what was held back of these answers, if anything was."""
        told = {"choices": self._custom.tell(owners)}
        own = relay.own_chunk(told, self._identity, include_usage=self._include_usage)
        return super().feed(own) if own else b""

    def finish(self, usage: dict) -> bytes:
        return self._tell(self._custom.owners) + super().finish(usage)


def _open_chat(opening: Opening) -> tuple[Stream, bytes]:
    if names := custom_tools.names_in(opening.body):
        include_usage = opening.request.include_usage
        return CustomToolStream(opening.identity, include_usage=include_usage, names=names), b""
    return _open_text(opening)


def _open_text(opening: Opening) -> tuple[Stream, bytes]:
    return ChatStream(opening.identity, include_usage=opening.request.include_usage), b""


def _stop_sequences(body: dict) -> list[str]:
    return body.get("stop_sequences") or []


def _message(answer: dict, usage: dict, body: dict) -> dict:
    tells_thinking = anthropic_api.tells_thinking(body)
    return anthropic_api.message(
        answer, usage, _stop_sequences(body), tells_thinking=tells_thinking
    )


def _open_messages(opening: Opening) -> tuple[Stream, bytes]:
    tells_thinking = anthropic_api.tells_thinking(opening.body)
    stream = anthropic_api.MessageStream(
        _stop_sequences(opening.body), tells_thinking=tells_thinking
    )
    identity = opening.identity
    return stream, stream.start(
        answer_id=identity.id, model=identity.model, input_tokens=opening.prompt_tokens
    )


def _responses(seal: Seal | None) -> Dialect:
    def opened(opening: Opening) -> tuple[Stream, bytes]:
        stream, who = ResponseStream(opening.body, seal), opening.identity
        return stream, stream.start(id=who.id, created=who.created, model=who.model)

    return Dialect(
        "responses",
        read=lambda body: chat_request.parse(
            responses_chat_body(body, seal), default_max_tokens=AGENT_MAX_TOKENS
        ),
        whole=lambda answer, usage, body: responses_answer.response(answer, usage, body, seal),
        open=opened,
        prompt_field="input",
        sealing=lambda cipher: _responses(Seal(cipher)),
    )


def _whole_chat(answer: dict, usage: dict, body: dict) -> dict:
    whole = _whole_text(answer, usage, body)
    if names := custom_tools.names_in(body):
        whole["choices"] = [custom_tools.calling(choice, names) for choice in whole["choices"]]
    return whole


def _whole_text(answer: dict, usage: dict, _: dict) -> dict:
    for choice in answer["choices"]:
        said = choice.get("message") or {}
        _speak_plainly(said)
        if not said.get("reasoning") and (thought := thought_in(said.get("reasoning_details"))):
            said["reasoning"] = thought
        if choice.get("finish_reason"):
            finish_reasons.tell(choice, called=bool(said.get("tool_calls")))
    return {**answer, "usage": usage}


def _speak_plainly(said: dict) -> None:
    """Put what was thought into `reasoning`, whichever name its provider has for it, which stays;
    and content in parts, with thoughts among them, as the text that OpenAI's clients expect.
    """
    thought, _ = spoken(said)
    if thought:
        said["reasoning"] = thought
    if type(said.get("content")) is list:
        _, said["content"] = spoken({"content": said["content"]})


CHAT = Dialect(
    "chat",
    read=chat_request.parse,
    whole=_whole_chat,
    open=_open_chat,
)
MESSAGES = Dialect(
    "messages",
    read=lambda body: chat_request.parse(anthropic_api.chat_body(body)),
    whole=_message,
    open=_open_messages,
)
RESPONSES = _responses(None)
COMPLETIONS = Dialect(
    "completions",
    read=text_request.parse,
    whole=_whole_text,
    open=_open_text,
    prompt_field="prompt",
)
EMBEDDINGS = Dialect(
    "embeddings",
    read=embedding_request.parse,
    whole=embedding_request.embedding_list,
    open=_open_text,  # Never called: embeddings aren't streamed.
    prompt_field="input",
)
