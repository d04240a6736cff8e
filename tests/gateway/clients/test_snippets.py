"""The snippets of the first steps, each run as it stands against a running gateway."""

import html
import os
import shutil
import subprocess
import sys
import tomllib

import openai
import pytest
import requests

from kyma.pages.snippets import EXPORT, KEY_VARIABLE, QUESTION, Snippet, snippets
from tests.support.live import DEADLINE_S, Customer

# What the package of that name does for the snippet; used where the real one isn't installed.
NODE_PACKAGE = """
export default class OpenAI {
  constructor({ baseURL, apiKey }) { Object.assign(this, { baseURL, apiKey }); }
  chat = { completions: { create: async (body) => {
    const headers = {
      "Authorization": `Bearer ${this.apiKey}`, "Content-Type": "application/json",
    };
    const url = `${this.baseURL}/chat/completions`;
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  } } };
}
"""


@pytest.fixture
def customer(gateway):
    return Customer(gateway, unlimited=True)


def snippet(customer: Customer, name: str) -> Snippet:
    base_url = customer.gateway.url
    found = snippets(base_url, model="scripted", coding_model="scripted")
    return next(one for one in found if one.id == name)


def run(customer: Customer, *command: str, **options) -> str:
    """What a command prints that has the customer's key in its environment."""
    environment = {**os.environ, KEY_VARIABLE: customer.key_text}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_answers(customer):
    printed = run(customer, "bash", "-c", snippet(customer, "curl").text)
    assert QUESTION in printed
    assert customer.settled_request().api == "chat"


def test_python_streams_an_answer(customer):
    printed = run(customer, sys.executable, "-c", snippet(customer, "python").text)
    assert QUESTION in printed
    assert customer.settled_request().streamed


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node here")
def test_node_answers(customer, tmp_path):
    package = tmp_path / "node_modules" / "openai"
    package.mkdir(parents=True)
    (package / "index.mjs").write_text(NODE_PACKAGE)
    (package / "package.json").write_text('{"name": "openai", "main": "index.mjs"}')
    (tmp_path / "ask.mjs").write_text(snippet(customer, "node").text)
    printed = run(customer, "node", "ask.mjs", cwd=tmp_path)
    assert QUESTION in printed
    assert customer.settled_request().api == "chat"


CLAUDE = """
import anthropic, os
client = anthropic.Anthropic()
assert all("claude" in model.id for model in client.models.list())
for model in (os.environ["ANTHROPIC_MODEL"], os.environ["ANTHROPIC_DEFAULT_HAIKU_MODEL"]):
    message = client.messages.create(
        model=model, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
    )
    print(message.content[0].text)
"""


def test_the_variables_of_claude_code_are_those_of_the_anthropic_package(customer):
    lines = [
        "export ANTHROPIC_API_KEY=sk-ant-other",  # It would be sent in place of Kyma's.
        snippet(customer, "claude-code").text,
        f"exec {sys.executable} -c '{CLAUDE}'",
    ]
    script = "\n".join(lines)
    assert run(customer, "bash", "-c", script).count("Hello") == 2
    assert {row.api for row in customer.requests()} == {"models", "messages"}


def test_the_settings_of_codex_reach_the_responses_api(customer):
    config = tomllib.loads(snippet(customer, "codex").text)
    provider = config["model_providers"][config["model_provider"]]
    assert (provider["env_key"], provider["wire_api"]) == (KEY_VARIABLE, "responses")
    with openai.OpenAI(base_url=provider["base_url"], api_key=customer.key_text) as client:
        answer = client.responses.create(model=config["model"], input="Hello")
    assert "Hello" in answer.output_text
    assert customer.settled_request().api == "responses"


def test_the_docs_show_them_for_the_address_that_they_were_asked_at(customer):
    page = requests.get(f"{customer.gateway.url}/docs", timeout=DEADLINE_S).text
    assert html.escape(EXPORT) in page
    for one in snippets(customer.gateway.url, model="MODEL", coding_model="MODEL"):
        address = f"{customer.gateway.url}/v1" if "/v1" in one.text else customer.gateway.url
        shown = html.unescape(page.split(f'id="snippet-{one.id}">')[1].split("</code>")[0])
        assert address in shown
        assert one.text.split("MODEL")[0] in shown
