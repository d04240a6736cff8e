"""Shows how to point clients at this Kyma: one list of snippets for overview, landing and docs.

All read the key from KYMA_API_KEY, so that no snippet holds a secret and each works unchanged.
"""

import dataclasses

from gateway.catalogue import aliases, claude_code
from gateway.catalogue.entries import ModelEntry

KEY_VARIABLE = "KYMA_API_KEY"
EXPORT = f'export {KEY_VARIABLE}="kyma-..."'
QUESTION = "What is the capital of Japan?"
MODEL, CODING_MODEL = "fast", "code"  # Aliases, used if one of their models can be used.


@dataclasses.dataclass(frozen=True)
class Snippet:
    id: str
    name: str
    note: str
    text: str


def snippets(base_url: str, *, model: str, coding_model: str) -> list[Snippet]:
    """Return the snippets for a Kyma at `base_url`, an address without a slash at its end."""
    return [
        Snippet("curl", "curl", "In a shell.", _curl(base_url, model)),
        Snippet("python", "Python", "After pip install openai.", _python(base_url, model)),
        Snippet("node", "Node", "After npm install openai, in ask.mjs.", _node(base_url, model)),
        Snippet(
            "claude-code",
            "Claude Code",
            "In the shell in which you start claude.",
            _claude_code(base_url, coding_model, model),
        ),
        Snippet(
            "codex",
            "Codex",
            "In ~/.codex/config.toml; the key stays in the variable of your shell.",
            _codex(base_url, coding_model),
        ),
    ]


def context(address: str, models: dict[str, ModelEntry]) -> dict:
    """Return the template context: the snippets for a Kyma at `address`, with usable models."""
    base_url = address.rstrip("/")
    return {
        "base_url": base_url,
        "export": EXPORT,
        "snippets": snippets(base_url, **chosen_models(models)),
    }


def chosen_models(models: dict[str, ModelEntry]) -> dict[str, str]:
    """Return the models that the snippets name, so that they work with the usable `models`."""
    writing = sorted(slug for slug, entry in models.items() if entry.writes)
    general = _usable(MODEL, models) or next(iter(writing), MODEL)
    return {"model": general, "coding_model": _usable(CODING_MODEL, models) or general}


def _usable(alias: str, models: dict[str, ModelEntry]) -> str | None:
    return alias if aliases.model_of(alias, models.__contains__) else None


def _curl(base_url: str, model: str) -> str:
    return f"""\
curl {base_url}/v1/chat/completions \\
  -H "Authorization: Bearer ${KEY_VARIABLE}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "max_tokens": 200, "messages": [
    {{"role": "user", "content": "{QUESTION}"}}
  ]}}'
"""


def _python(base_url: str, model: str) -> str:
    return f"""\
import os
from openai import OpenAI

kyma = OpenAI(base_url="{base_url}/v1", api_key=os.environ["{KEY_VARIABLE}"])
stream = kyma.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "{QUESTION}"}}],
    max_tokens=200,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
"""


def _node(base_url: str, model: str) -> str:
    return f"""\
import OpenAI from "openai";

const kyma = new OpenAI({{ baseURL: "{base_url}/v1", apiKey: process.env.{KEY_VARIABLE} }});
const answer = await kyma.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "{QUESTION}" }}],
  max_tokens: 200,
}});
console.log(answer.choices[0].message.content);
"""


def _claude_code(base_url: str, model: str, small_model: str) -> str:
    return f"""\
export ANTHROPIC_BASE_URL="{base_url}"
export ANTHROPIC_AUTH_TOKEN="${KEY_VARIABLE}"
export ANTHROPIC_API_KEY=""  # One for Anthropic itself would go before.
export ANTHROPIC_MODEL="{model}"
export ANTHROPIC_DEFAULT_HAIKU_MODEL="{small_model}"
# So that /model lists Kyma's:
export CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1
export ANTHROPIC_CUSTOM_HEADERS="{claude_code.HEADER}: {claude_code.HEADER_VALUE}"
"""


def _codex(base_url: str, model: str) -> str:
    return f"""\
model = "{model}"
model_provider = "kyma"

[model_providers.kyma]
name = "Kyma"
base_url = "{base_url}/v1"
env_key = "{KEY_VARIABLE}"
wire_api = "responses"
"""
