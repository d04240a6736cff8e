"""The ways in which a provider can fail, and the error that the caller gets for each.

UpstreamFailed
├── Refused          no connection within the time allowed
├── Silent           connected, but nothing came in time
├── Broken           the connection ended in the middle
├── Garbled          the response isn't an answer: HTML, broken JSON, an event too large
├── Overloaded       too many requests or tokens at the moment
├── Faulty           any other error status, by the provider's fault or Kyma's towards it
└── Declined         the provider rejects the request itself
"""

import math
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from gateway import errors

DEFAULT_WAIT_S = 5
MAX_MESSAGE = 300
# Error codes by which a provider rejects the content of a request.
_POLICY = ("content_policy", "content_filter", "moderation")
# Phrases by which servers report that a prompt is too long; few have a code for it.
_TOO_LONG = re.compile(
    "|".join(
        (
            r"context[ _](?:length|size|window)",
            r"max(?:imum)? (?:model|prompt|input) length",
            r"(?:prompt|input) (?:is )?too long",
            r"input length.{0,60}exceeds",
            r"reduce the length of the (?:messages|prompt|input)",
            r"`inputs` (?:tokens \+|must have less than)",
            r"exceeded model token limit",
            r"max_tokens must be at least 1, got -",  # vLLM, if the prompt leaves no room.
        )
    ),
    re.IGNORECASE,
)
# Phrases by which chat templates object to the order of the messages, or to the developer's role.
_ORDER = re.compile(
    r"roles must alternate|(?:unexpected|unknown|unsupported) (?:message )?role"
    r"|system (?:message|prompt) must be|only .{0,60}roles are supported",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
MAX_SEARCHED = 1000  # Some of these patterns would search a very long word for minutes.
# Secrets that a provider's message may contain.
_SECRETS = re.compile(
    r"""
      \w+://\S+                               # web addresses
    | [\w.+-]+@[\w-]+\.[\w.-]+                # mail addresses
    | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b    # IP addresses
    | \bbearer\s+\S+
    | \b(?:sk|pk|rk|gsk|csk|tgp|fw|hf|xai|nvapi|key)[-_](?=[\w-]*\d)[\w-]+
    | \b(?:org|proj|project|acct|user|req)[-_](?=[\w-]*\d)[\w-]+
    | (?<![a-z0-9])[a-z0-9]{24,}[\w-]*         # random words
    """,
    re.VERBOSE | re.IGNORECASE,
)


class UpstreamFailed(Exception):
    """One attempt failed. The log keeps `fault`; if `retryable`, another route is tried."""

    fault = "failed"
    retryable = True
    answer: type[errors.GatewayError] = errors.BadUpstream
    sentence = "The provider failed to answer."

    def __init__(self, *, status: int | None = None, retry_after_s: int | None = None):
        super().__init__(self.fault)
        self.status = status
        self.retry_after_s = retry_after_s

    def gateway_error(self) -> errors.GatewayError:
        """Return the error for the caller if no other route answers either."""
        return self.answer(self.sentence)


class Refused(UpstreamFailed):
    fault = "refused"
    answer = errors.Unavailable
    sentence = "No provider of this model can be reached right now. Try again shortly."


class Silent(UpstreamFailed):
    fault = "silent"
    answer = errors.UpstreamTimeout
    sentence = "The provider didn't answer in time."


class Broken(UpstreamFailed):
    fault = "broken"
    sentence = "The provider broke the connection."


class Garbled(UpstreamFailed):
    fault = "garbled"
    sentence = "The provider sent something that isn't an answer."


class Overloaded(UpstreamFailed):
    fault = "overloaded"

    @property
    def wait_s(self) -> int:
        return self.retry_after_s or DEFAULT_WAIT_S

    def gateway_error(self) -> errors.GatewayError:
        return errors.TooManyRequests(
            "All providers of this model are at capacity. Try again shortly.",
            code="provider_overloaded",
            retry_after_s=self.wait_s,
        )


class Faulty(UpstreamFailed):
    fault = "faulty"

    def gateway_error(self) -> errors.GatewayError:
        if self.status in (503, 529):
            return errors.Unavailable(
                "The provider is overloaded.", retry_after_s=self.retry_after_s or DEFAULT_WAIT_S
            )
        if self.status in (408, 504, 524):
            return errors.UpstreamTimeout("The provider didn't answer in time.")
        return errors.BadUpstream("The provider failed to answer.")


class Declined(UpstreamFailed):
    """The provider rejects the request. `message` is its own text, without secrets.

    With `is_policy` it objects to the content; the form of the request may be right. With
    `by_order` it objects to the order of the messages.
    """

    fault = "declined"
    retryable = False

    def __init__(
        self,
        *,
        status: int,
        message: str,
        too_long: bool = False,
        is_policy: bool = False,
        by_order: bool = False,
    ):
        super().__init__(status=status)
        self.message = message
        self.too_long = too_long
        self.is_policy = is_policy
        self.by_order = by_order

    def gateway_error(self) -> errors.GatewayError:
        if self.too_long:
            # Claude Code shortens its conversation when the message begins with these words.
            message = f"The prompt is too long. {self.message}"
            return errors.ContextTooLong(message, param="messages")
        if self.status == 403:
            return errors.Forbidden(self.message, code="content_policy_violation")
        kinds = {413: errors.BodyTooLarge, 422: errors.Unprocessable}
        return kinds.get(self.status or 400, errors.InvalidRequest)(self.message)


def from_status(status: int, body: object, wait_s: int | None = None) -> UpstreamFailed:
    """Return the failure that an error status and its body stand for."""
    message, code = _message_and_code(body)
    if status == 429 or (status == 413 and _counts_tokens(code)):
        return Overloaded(status=status, retry_after_s=wait_s)
    is_policy = any(word in code for word in _POLICY)
    if status in (400, 413, 422) or (status == 403 and (is_policy or "policy" in code)):
        return Declined(
            status=status,
            message=_clean(message),
            too_long=_is_too_long(message, code),
            is_policy=is_policy or status == 403,
            by_order=bool(_ORDER.search(message[:MAX_SEARCHED])),
        )
    return Faulty(status=status, retry_after_s=wait_s)


def status_inside(error: object) -> int:
    """Return the status that an error object inside a 200 answer stands for."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code[:4])
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    message, word = _message_and_code({"error": error})
    if _is_too_long(message, word):
        return 400
    return 429 if "rate_limit" in word else 502


def _is_too_long(message: str, code: str) -> bool:
    return bool(_TOO_LONG.search(code) or _TOO_LONG.search(message[:MAX_SEARCHED]))


def _counts_tokens(code: str) -> bool:
    """True when a 413 means a token limit per minute, as at Groq, and not the size of a prompt."""
    return "rate_limit" in code or "tokens" in code.split()


def wait_told(header: Callable[[bytes], str]) -> int | None:
    """Return for how many seconds an answer's headers ask Kyma to wait, or None if they don't."""
    if _NUMBER.fullmatch(ms := header(b"retry-after-ms")):
        wait_s = float(ms) / 1000
    elif _NUMBER.fullmatch(said := header(b"retry-after")):
        wait_s = float(said)
    else:
        wait_s = _seconds_between(header(b"date"), said)
    return math.ceil(min(wait_s, errors.MAX_RETRY_AFTER_S)) if wait_s > 0 else None


def _seconds_between(now: str, then: str) -> float:
    """Return the seconds between two times of the provider's clock, which may differ from ours."""
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError):  # One of the headers is missing or isn't a date.
        return 0


def _message_and_code(body: object) -> tuple[str, str]:
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, str):
        return error, ""
    if not isinstance(error, dict):
        return "", ""
    message = error.get("message") or error.get("detail") or ""
    return str(message), f"{error.get('code')} {error.get('type')}"


def _clean(message: str) -> str:
    said = _SECRETS.sub("…", message.strip()[:MAX_SEARCHED])[:MAX_MESSAGE]
    return f"The provider declined the request: {said}" if said else "The provider declined it."
