"""A request for text completions, the older endpoint, where the model continues a prompt."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.dialects import request as provider_request
from gateway.dialects.chat.fields import FORWARDED as CHAT_FORWARDED
from gateway.dialects.chat.fields import KEPT, MAX_ANSWERS, ROUTING
from gateway.dialects.chat.fields import READ as CHAT_READ
from gateway.dialects.chat.messages import size_of
from gateway.dialects.prompts import Inputs, inputs
from gateway.dialects.request import Endpoint, FieldTable, ProviderRequest
from gateway.errors import Unprocessable
from gateway.wire.checks import Check, boolean, integer, text

DEFAULT_MAX_TOKENS = 16  # OpenAI's default, which clients of this endpoint rely on.
MAX_PROMPTS = 128

_SAMPLING = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "top_k",
    "min_p",
    "repetition_penalty",
)
FORWARDED: dict[str, Check] = {
    **{name: CHAT_FORWARDED[name] for name in _SAMPLING},
    "logprobs": integer(0, 20),
    "echo": boolean,
    "suffix": text(),
}
READ: dict[str, Check] = {
    **{name: CHAT_READ[name] for name in ("model", "stream", "stream_options", "usage", "n")},
    "prompt": inputs(MAX_PROMPTS),
    # Never 0: some providers take it as no limit, and the hold would then cover no output at all.
    "max_tokens": CHAT_READ["max_tokens"],
    # A field of chat, read so that no route passes it on beside `max_tokens`.
    "max_completion_tokens": CHAT_READ["max_completion_tokens"],
    "best_of": integer(1, MAX_ANSWERS),
    **KEPT,
}
TABLE = FieldTable(FORWARDED, READ, ROUTING, required=("model", "prompt"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest(ProviderRequest):
    endpoint: ClassVar[Endpoint] = provider_request.TEXT

    prompt: Any

    @property
    def echoed_bytes(self) -> int:
        return self.n * self.text_bytes if self.fields.get("echo") else 0

    @property
    def content(self) -> dict[str, Any]:
        return {"prompt": self.prompt}


def parse(body: dict) -> TextRequest:
    """Read a body that wire.body.parse returned. Raises InvalidRequest, Unprocessable."""
    found = TABLE.sort(body)
    read = found.read
    n = read.get("n", 1)
    if read.get("best_of", n) != n:
        raise Unprocessable(
            "Kyma returns every completion that is paid for: `best_of` must equal `n`, or be "
            "left out.",
            param="best_of",
        )
    size = Inputs.of(read["prompt"])
    in_prompt = [found.fields.get("suffix"), *found.unknown.values()]
    return TextRequest(
        **found.common(),
        prompt=read["prompt"],
        stream=read.get("stream", False),
        include_usage=found.wants_usage(),
        max_tokens=read.get("max_tokens", DEFAULT_MAX_TOKENS),
        n=n,
        prompts=size.count,
        text_bytes=size.text_bytes + size.count * sum(size_of(value) for value in in_prompt),
        token_ids=size.token_ids,
    )
