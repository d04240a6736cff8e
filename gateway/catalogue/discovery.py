"""Which models a server of the operator's own has: `GET {base_url}/models`.

Runs when the catalogue is loaded, never while a request waits.
"""

import dataclasses
import re
from urllib.parse import urlsplit

import requests

TIMEOUT_S = 3.0
DEFAULT_CONTEXT_LENGTH = 8192  # tokens; Ollama doesn't say what it serves a model with
_MAX_CONTEXT_LENGTH = 2**31 - 1
_MAX_SLUG_LENGTH = 96
_MAX_URL_LENGTH = 200


class ServerSilent(Exception):
    """The server can't be reached, or doesn't answer as an OpenAI-compatible one does."""


@dataclasses.dataclass(frozen=True)
class FoundModel:
    upstream_model: str
    slug: str
    context_length: int


def normal_base_url(text: str) -> str:
    """The base URL of an Ollama or vLLM server, with the scheme and /v1 that people leave out.

    Raises ValueError.
    """
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    url = url.rstrip("/")
    if not url.endswith("/v1"):
        url += "/v1"
    parts = urlsplit(url)
    if len(url) > _MAX_URL_LENGTH or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not the http:// or https:// address of a server")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a user name, password, query or fragment can't be part of it")
    return url


def models_of(base_url: str, api_key: str | None = None) -> list[FoundModel]:
    """The models that the server at `base_url` names. Raises ServerSilent."""
    with requests.Session() as session:
        session.trust_env = False  # No proxy and no .netrc: the gateway doesn't use them either.
        if api_key:
            session.headers["Authorization"] = f"Bearer {api_key}"
        try:
            answer = session.get(f"{base_url}/models", timeout=TIMEOUT_S)
            if answer.status_code != requests.codes.ok:
                raise ServerSilent(f"answers {answer.status_code} to /models")
            return [_found(item) for item in answer.json()["data"]]
        except requests.JSONDecodeError as error:
            raise ServerSilent("answers something else than JSON to /models") from error
        except requests.RequestException as error:
            # Its own text may hold what was in the URL or the headers.
            raise ServerSilent(f"can't be reached ({type(error).__name__})") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerSilent("answers no list of models to /models") from error


def slug_of(upstream_model: str) -> str:
    """Kyma's slug for a server's own id: "Qwen/Qwen3-8B" → "qwen-qwen3-8b"."""
    return re.sub(r"[^a-z0-9._]+", "-", upstream_model.lower()).strip("-._")[:_MAX_SLUG_LENGTH]


def _found(item: dict) -> FoundModel:
    upstream_model = item["id"]
    length = item.get("max_model_len")  # vLLM says it.
    if not isinstance(length, int) or not 0 < length <= _MAX_CONTEXT_LENGTH:
        length = DEFAULT_CONTEXT_LENGTH
    return FoundModel(upstream_model, slug_of(upstream_model), length)
