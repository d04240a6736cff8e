"""Kyma's inference APIs: how each reads a request for a provider, and how it answers."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from accounts.encryption import Cipher
from gateway.dialects import embeddings as embedding_request
from gateway.dialects import text as text_request
from gateway.dialects.anthropic import api as anthropic_api
from gateway.dialects.chat import custom_tools
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.chunks import Identity
from gateway.dialects.chat.stream import ChatStream, CustomToolStream, whole_chat, whole_text
from gateway.dialects.request import AGENT_MAX_TOKENS, ProviderRequest
from gateway.dialects.responses import answer as responses_answer
from gateway.dialects.responses.request import chat_body as responses_chat_body
from gateway.dialects.responses.seal import Seal
from gateway.dialects.responses.stream import ResponseStream
from gateway.errors import GatewayError


class Stream(Protocol):
    """Writes the events of one answer from its mended chunks.

    `waiting` is the number of bytes of content that the stream was fed and hasn't written.
    """

    @property
    def waiting(self) -> int: ...

    def feed(self, chunk: dict) -> bytes:
        """Return the events of a chunk, or nothing if they have to wait for later chunks."""

    def ping(self) -> bytes:
        """Return bytes that keep a silent stream alive."""

    def finish(self, usage: dict) -> bytes:
        """Return the end of a stream that is complete and settled."""

    def fail(self, error: GatewayError) -> bytes:
        """Return the end of a stream that failed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """The facts from which a stream begins. `prompt_tokens` is an estimate."""

    identity: Identity
    request: ProviderRequest
    body: dict
    prompt_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """One API. `api` is its name in the request log.

    `read` takes the caller's body, and `whole` takes answer, usage and that body. `open` returns a
    stream and its first bytes. `prompt_field` is the field to blame for a prompt that is too long.
    """

    api: str
    read: Callable[[dict], ProviderRequest]
    whole: Callable[[dict, dict, dict], dict]
    open: Callable[[Opening], tuple[Stream, bytes]]
    prompt_field: str = "messages"
    sealing: Callable[[Cipher], "Dialect"] | None = None

    def under(self, cipher: Cipher) -> "Dialect":
        """Return the dialect for one person. Their cipher seals reasoning for the next request."""
        return self.sealing(cipher) if self.sealing else self


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
    shows_thinking = anthropic_api.shows_thinking(body)
    return anthropic_api.message(
        answer, usage, _stop_sequences(body), shows_thinking=shows_thinking
    )


def _open_messages(opening: Opening) -> tuple[Stream, bytes]:
    shows_thinking = anthropic_api.shows_thinking(opening.body)
    stream = anthropic_api.MessageStream(
        _stop_sequences(opening.body), shows_thinking=shows_thinking
    )
    identity = opening.identity
    return stream, stream.start(
        answer_id=identity.id, model=identity.model, input_tokens=opening.prompt_tokens
    )


def _responses(seal: Seal | None) -> Dialect:
    def opened(opening: Opening) -> tuple[Stream, bytes]:
        stream, identity = ResponseStream(opening.body, seal), opening.identity
        return stream, stream.start(id=identity.id, created=identity.created, model=identity.model)

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


CHAT = Dialect(
    "chat",
    read=chat_request.parse,
    whole=whole_chat,
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
    whole=whole_text,
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
