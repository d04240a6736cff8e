"""A catalogue small enough for tests, and a server that lists models of its own."""

import datetime as dt
import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path

PROVIDERS = """
[local]
name = "Local"
env = "LOCAL_PROVIDER_URL"
privacy_policy_url = "https://example.org/privacy"
retention = "none"

[groq]
name = "Groq"
base_url = "https://api.groq.example/openai/v1"
env = "GROQ_API_KEY"
privacy_policy_url = "https://groq.example/privacy"
retention = "abuse_30d"
retention_evidence_url = "https://groq.example/data"
retention_evidence_date = {today}
unsupported = ["logprobs"]

[openrouter]
name = "OpenRouter"
base_url = "https://openrouter.example/api/v1"
env = "OPENROUTER_API_KEY"
privacy_policy_url = "https://openrouter.example/privacy"
retention = "unknown"

[ollama]
name = "Ollama"
env = "OLLAMA_BASE_URL"
privacy_policy_url = "https://example.org/privacy"
retention = "unknown"
"""

CATALOG = """
[[model]]
slug = "demo"
name = "Demo"
maker = "Kyma"
context_length = 8192
capabilities = ["json"]

[[model.route]]
provider = "local"
upstream_model = "demo-135m"
input = "0.01"
output = "0.02"
source = "Kyma's own price"
source_date = 2026-01-02
verified = true

[[model]]
slug = "llama-3.1-8b"
name = "Llama 3.1 8B"
maker = "Meta"
released = 2024-07-23
context_length = 131072
capabilities = ["tools"]

[[model.route]]
provider = "groq"
upstream_model = "llama-3.1-8b-instant"
input = "0.000000055"
output = "0.08"
source = "https://groq.example/pricing"
source_date = 2026-01-02

[[model.route]]
provider = "openrouter"
upstream_model = "meta/llama-3.1-8b"
context_length = 65536
input = "0.04"
cached_input = "0.03"
output = "0.05"
request = "0.001"
image = "0.002"
source = "https://openrouter.example/llama"
source_date = 2026-01-02
"""


def write(folder: Path) -> None:
    """Put both files into `folder`; the evidence in them is of today."""
    today = dt.datetime.now(dt.UTC).date()
    (folder / "providers.toml").write_text(PROVIDERS.format(today=today))
    (folder / "catalog.toml").write_text(CATALOG)


def rewrite(folder: Path, old: str, new: str, name: str = "catalog.toml") -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


@contextmanager
def server(answer: bytes, status: int = 200):
    """A server that gives `answer` to every GET; yields its address and the requests it saw."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", seen
        finally:
            running.shutdown()
            thread.join()


def models_answer(*items) -> bytes:
    return json.dumps({"object": "list", "data": items}).encode()
