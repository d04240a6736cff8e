"""How clients are pointed at this Kyma: each snippet once, for the overview, landing and docs.

All read the key from KYMA_API_KEY, so that none holds a secret and each works as it stands.
"""

import dataclasses

from gateway import aliases
from gateway.routing import ModelEntry

KEY_VARIABLE = "KYMA_API_KEY"
EXPORT = f'export {KEY_VARIABLE}="kyma-..."'
QUESTION = "What is the capital of Japan?"
MODEL = "fast"
CODING_MODEL = "code"


@dataclasses.dataclass(frozen=True)
class Snippet:
    id: str
    name: str
    note: str
    text: str


def snippets(base_url: str, *, model: str = MODEL, coding_model: str = CODING_MODEL) -> list[Snippet]:
    """For a Kyma at `base_url`, an address without a slash at its end."""
    return [
        Snippet("curl", "curl", "In a shell.", _curl(base_url, model)),
        Snippet("python", "Python", "With pip install openai.", _python(base_url, model)),
        Snippet("node", "Node", "With npm install openai, in a file ask.mjs.", _node(base_url, model)),
        Snippet(
            "claude-code",
            "Claude Code",
            "In the shell in which you start claude.",
            _claude_code(base_url, coding_model, model),
        ),
        Snippet(
            "codex",
            "Codex",
            "In ~/.codex/config.toml; the key stays in the shell's variable.",
            _codex(base_url, coding_model),
        ),
    ]


def models_for(catalogue: dict[str, ModelEntry]) -> dict[str, str]:
    """Which models the snippets name, such that they work with what can be used now."""
    writing = [slug for slug, entry in catalogue.items() if entry.writes]
    general = _usable(MODEL, catalogue) or next(iter(sorted(writing)), MODEL)
    return {"model": general, "coding_model": _usable(CODING_MODEL, catalogue) or general}


def _usable(alias: str, catalogue: dict[str, ModelEntry]) -> str | None:
    return alias if aliases.model_of(alias, catalogue.__contains__) else None


def _curl(base_url: str, model: str) -> str:
    return f"""\
curl {base_url}/v1/chat/completions \\
  -H "Authorization: Bearer ${KEY_VARIABLE}" \\
  -H "Content-Type: application/json" \\
  -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "{QUESTION}"}}],
    "max_tokens": 200
  }}'
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
export ANTHROPIC_MODEL="{model}"
export ANTHROPIC_SMALL_FAST_MODEL="{small_model}"
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
