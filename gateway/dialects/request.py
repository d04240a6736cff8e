"""A checked request in the form that routing, billing and the log use for every endpoint.

Each endpoint of a provider has a subclass that knows what Kyma sends there and what comes back.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gateway.failures import Garbled
from gateway.wire.checks import Check, Mismatch, missing, object_of

BYTES_PER_TOKEN = 4

TOKENS_PER_PROMPT = 4  # At most: the marks of its beginning and its end.
DEFAULT_MAX_TOKENS = 4096  # For callers who set no limit.
# Codex never sets a limit, asks for whole files, and stops with an error if an answer is cut off.
AGENT_MAX_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path at providers. `says_nothing` holds the members of a choice without any content."""

    path: str
    answer_object: str
    chunk_object: str
    id_prefix: str
    says_nothing: dict[str, Any]


CHAT = Endpoint(
    "/chat/completions",
    "chat.completion",
    "chat.completion.chunk",
    "chatcmpl-",
    {"delta": {"content": ""}},
)
TEXT = Endpoint(
    "/completions", "text_completion", "text_completion", "cmpl-", {"text": "", "logprobs": None}
)
EMBEDDINGS = Endpoint("/embeddings", "list", "", "emb-", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest(ABC):
    """A checked request. Kyma tries its `models` in order.

    `fields`, `unknown` and `routing` hold the body's fields as they came, without nulls.
    `fields` go to any provider, `unknown` only over a route with passthrough, `routing` nowhere.
    `text_bytes` is an upper bound for the tokens of the prompt's text; images, template text and
    `token_ids` (the number of tokens sent as ids) come on top. Each of the `prompts` gets `n`
    answers.
    """

    endpoint: ClassVar[Endpoint]
    has_template: ClassVar[bool] = False  # True when a chat template writes the prompt.

    models: tuple[str, ...]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    n: int = 1
    prompts: int = 1
    fields: dict[str, Any]
    unknown: dict[str, Any]
    routing: dict[str, Any]
    text_bytes: int
    token_ids: int = 0
    images: int = 0
    user: str | None
    session_id: str | None

    @property
    def answers(self) -> int:
        return self.n * self.prompts

    @property
    def frame_tokens(self) -> int:
        """The most tokens that frame the prompt's text. A route's `template_tokens` come on top."""
        return TOKENS_PER_PROMPT * self.prompts

    @property
    def echoed_bytes(self) -> int:
        """The bytes of prompt text that the answers repeat."""
        return 0

    @property
    def has_remote_images(self) -> bool:
        """True when the prompt has pictures that the provider would have to fetch from the web."""
        return False

    @property
    def hides_reasoning(self) -> bool:
        """True when the caller doesn't want to read the model's reasoning."""
        return False

    @property
    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The prompt, in the fields that the provider expects."""

    @property
    def known_content(self) -> dict[str, Any]:
        """`content` without members that Kyma doesn't know, for routes without passthrough."""
        return self.content

    def in_turns(self) -> "ProviderRequest | None":
        """Return the request in the order that strict chat templates demand, or None if it is."""
        return None

    def accepted(self, answer: dict) -> dict:
        """Return a provider's whole answer after a check. Raises UpstreamFailed."""
        if not answer.get("choices"):
            raise Garbled(status=200)
        return answer

    def said(self, answer: dict) -> Any:
        """Return the part of an accepted answer that the content log keeps."""
        return answer.get("choices")


@dataclass(frozen=True, slots=True)
class SortedFields:
    """A body's fields by destination: see `ProviderRequest`. Kyma keeps `read` for itself."""

    fields: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    routing: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)

    def common(self) -> dict[str, Any]:
        """Return the members of ProviderRequest that all endpoints read in the same way."""
        first, fallbacks = self.read.get("model"), self.routing.get("models", [])
        return {
            "models": tuple(dict.fromkeys([*([first] if first else []), *fallbacks])),
            "fields": self.fields,
            "unknown": self.unknown,
            "routing": self.routing,
            "user": self.read.get("user") or self.read.get("safety_identifier"),
            "session_id": self.read.get("session_id") or self.read.get("prompt_cache_key"),
        }

    def wants_usage(self) -> bool:
        """True when the caller wants the usage, which then ends the answer if that is a stream."""
        options = self.read.get("stream_options", {}) if self.read.get("stream") else {}
        return bool(options.get("include_usage") or self.read.get("usage", {}).get("include"))


@dataclass(frozen=True, slots=True)
class FieldTable:
    """The fields that an endpoint knows, with their checks, and the names of the required ones."""

    forwarded: dict[str, Check]
    read: dict[str, Check]
    routing: dict[str, Check]
    required: tuple[str, ...]

    @property
    def check(self) -> Check:
        """One check of the whole body, for the description of the API."""
        members = {**self.read, **self.forwarded, **self.routing}
        return object_of(members, required=self.required)

    def sort(self, body: dict) -> SortedFields:
        """Check the body's fields and return them by destination. Raises InvalidRequest."""
        found = SortedFields()
        tables = (
            (self.forwarded, found.fields),
            (self.read, found.read),
            (self.routing, found.routing),
        )
        for name, value in body.items():
            if value is None:
                continue
            for checks, place in tables:
                if name in checks:
                    place[name] = _checked(checks[name], name, value)
                    break
            else:
                found.unknown[name] = value
        for name in self.required:
            if name not in found.read and not (name == "model" and found.routing.get("models")):
                raise missing(self.read[name]).under(name).as_error()
        return found


def _checked(check: Check, name: str, value: Any) -> Any:
    try:
        check(value)
    except Mismatch as mismatch:
        raise mismatch.under(name).as_error() from None
    return value
