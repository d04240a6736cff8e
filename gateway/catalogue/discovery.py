"""The discovery of the models on an operator's own server, with `GET {base_url}/models`.

Discovery runs when the catalogue is loaded, never while a request waits.
"""

import dataclasses
import re
from urllib.parse import urlsplit

import requests

from gateway.catalogue.sessions import session

TIMEOUT_S = 3.0
DEFAULT_CONTEXT_LENGTH = 8192  # In tokens, for Ollama: it doesn't report a context length.
_MAX_CONTEXT_LENGTH = 2**31 - 1
_MAX_SLUG_LENGTH = 96
_MAX_URL_LENGTH = 200


class ServerSilent(Exception):
    """The server can't be reached, or its answer isn't that of an OpenAI-compatible server."""


@dataclasses.dataclass(frozen=True)
class FoundModel:
    upstream_model: str
    slug: str
    context_length: int


def normal_base_url(text: str) -> str:
    """Return the base URL of an Ollama or vLLM server, adding a missing scheme or /v1.

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
    """Return the models that the server at `base_url` lists. Raises ServerSilent."""
    with session(is_self_hosted=True) as opened:
        if api_key:
            opened.headers["Authorization"] = f"Bearer {api_key}"
        try:
            answer = opened.get(f"{base_url}/models", timeout=TIMEOUT_S)
            if answer.status_code != requests.codes.ok:
                raise ServerSilent(f"answers {answer.status_code} to /models")
            return [_found(item) for item in answer.json()["data"]]
        except requests.JSONDecodeError as error:
            raise ServerSilent("doesn't answer /models with JSON") from error
        except requests.RequestException as error:
            # The error's own text may contain parts of the URL or the headers.
            raise ServerSilent(f"can't be reached ({type(error).__name__})") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerSilent("doesn't answer /models with a list of models") from error


def slug_of(upstream_model: str) -> str:
    """Return Kyma's slug for a server's own model id: "Qwen/Qwen3-8B" → "qwen-qwen3-8b"."""
    return re.sub(r"[^a-z0-9._]+", "-", upstream_model.lower()).strip("-._")[:_MAX_SLUG_LENGTH]


def _found(item: dict) -> FoundModel:
    upstream_model = item["id"]
    length = item.get("max_model_len")  # vLLM sends this member.
    if not isinstance(length, int) or not 0 < length <= _MAX_CONTEXT_LENGTH:
        length = DEFAULT_CONTEXT_LENGTH
    return FoundModel(upstream_model, slug_of(upstream_model), length)
