"""What the story of a request needs to know of it, whichever endpoint of a provider it goes to.

A subclass for each endpoint says what is sent there and what comes back.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gateway.failures import Garbled
from gateway.wire.checks import Check, Mismatch, missing, object_of

TOKENS_PER_PROMPT = 4  # What marks its beginning and its end, at the most.
DEFAULT_MAX_TOKENS = 4096  # Of an answer whose caller names no limit.
# Codex never names one, and ends with an error where an answer is cut. What it asks for is files.
AGENT_MAX_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of providers. `says_nothing` are the members of a choice without any content."""

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
    """`models` are those to try, in order.

    `fields`, `unknown` and `routing` hold the body's fields as they came, `null` left out.
    `fields` go to any provider, `unknown` only over a route with passthrough, `routing` nowhere.
    `text_bytes` is an upper bound for prompt tokens; images, template text and the prompt's
    `token_ids`, each of which is a token, come on top. All of `prompts` have `n` answers each.
    """

    endpoint: ClassVar[Endpoint]
    has_template: ClassVar[bool] = False  # Whether a chat template writes the prompt.

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
        """The most tokens that mark what is said; a route's `template_tokens` come on top."""
        return TOKENS_PER_PROMPT * self.prompts

    @property
    def echoed_bytes(self) -> int:
        """The text of the prompts that the answers repeat."""
        return 0

    @property
    def hides_reasoning(self) -> bool:
        """Whether the caller doesn't want to read what the model thinks."""
        return False

    @property
    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What the provider is asked, by the names of its fields."""

    @property
    def known_content(self) -> dict[str, Any]:
        """The same, without what Kyma doesn't know in it: for routes without passthrough."""
        return self.content

    def accepted(self, answer: dict) -> dict:
        """A provider's whole answer, checked. Raises UpstreamFailed."""
        if not answer.get("choices"):
            raise Garbled(status=200)
        return answer

    def said(self, answer: dict) -> Any:
        """What the content log keeps of an answer that was accepted."""
        return answer.get("choices")


@dataclass(frozen=True, slots=True)
class SortedFields:
    """The fields of a body by where they go: see `ProviderRequest`. `read` are kept here."""

    fields: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    routing: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)

    def common(self) -> dict[str, Any]:
        """What is read alike whichever endpoint the request is for."""
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
        """Whether a stream ends with its usage, when it is one."""
        options = self.read.get("stream_options", {}) if self.read.get("stream") else {}
        return bool(options.get("include_usage") or self.read.get("usage", {}).get("include"))


@dataclass(frozen=True, slots=True)
class FieldTable:
    """The fields that an endpoint knows, with their checks, and which of them must be there."""

    forwarded: dict[str, Check]
    read: dict[str, Check]
    routing: dict[str, Check]
    required: tuple[str, ...]

    @property
    def check(self) -> Check:
        """All of it as the check of one object, for the description of the API."""
        members = {**self.read, **self.forwarded, **self.routing}
        return object_of(members, required=self.required)

    def sort(self, body: dict) -> SortedFields:
        """The body's fields, each checked. Raises InvalidRequest."""
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
