"""Mail on a machine without a mail server: files below STATE_DIR, shown at /mailbox for an hour.

It is only for trying Kyma: in production there is no such mailbox (settings.LOCAL_MAILBOX).

The page opens to the person who started Kyma: `make run` prints a link with a token, and a browser
that has followed it keeps a cookie. The network address would prove nothing, because behind a
proxy or a forwarded port everybody comes from this machine, and the mails open every account.
"""

import dataclasses
import datetime as dt
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.ids import uuid7

KEPT = dt.timedelta(hours=1)
COOKIE = "mailbox"
COOKIE_AGE_S = 30 * 24 * 60 * 60
_SALT = "accounts.mailbox"


@dataclasses.dataclass(frozen=True)
class Mail:
    """One mail, with the code or the link that it carries, if any."""

    id: str
    sent_at: dt.datetime
    to: str
    subject: str
    text: str

    @property
    def code(self) -> str:
        return self._find(r"\d{6}")

    @property
    def link(self) -> str:
        return self._find(r"https?://\S+")

    @property
    def line(self) -> str:
        """Return the line that `manage.py up` prints for this mail."""
        if self.code:
            return f"Mail to {self.to}: code {self.code}"
        return f"Mail to {self.to}: {self.link or self.subject}"

    def _find(self, pattern: str) -> str:
        """Return the line that matches: in our mails the code, or the link, has its own line."""
        found = re.search(f"^{pattern}$", self.text, re.MULTILINE)
        return found[0] if found else ""


class MailboxBackend(BaseEmailBackend):
    def send_messages(self, email_messages) -> int:
        for message in email_messages:
            for address in message.recipients():
                put(to=address, subject=message.subject, text=str(message.body))
        return len(email_messages)


def put(*, to: str, subject: str, text: str) -> None:
    """Keep a mail so that only the owner of this machine can read it."""
    purge()
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mail_id = uuid7().hex
    draft = folder / f"{mail_id}.draft"
    fields = {"to": to, "subject": subject, "text": text}
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({**fields, "sent_at": dt.datetime.now(dt.UTC).isoformat()}, file)
    draft.rename(folder / f"{mail_id}.json")


def mails() -> list[Mail]:
    """Return the mails of the last hour, the oldest first."""
    oldest = dt.datetime.now(dt.UTC) - KEPT
    found = (_read(path) for path in sorted(_folder().glob("*.json")))
    return [mail for mail in found if mail and mail.sent_at > oldest]


def purge() -> int:
    """Delete the mails that are older than an hour. Returns their number."""
    oldest = dt.datetime.now(dt.UTC) - KEPT
    old = [path for path in _files() if (mail := _read(path)) is None or mail.sent_at <= oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def link() -> str:
    """Return the path that opens the mailbox to a browser. It is for this machine's owner only."""
    return f"{reverse('mailbox')}?{urlencode({'token': settings.MAILBOX_TOKEN})}"


def opens(token: str) -> bool:
    """True when there is a mailbox and this is its token."""
    return settings.LOCAL_MAILBOX and constant_time_compare(token, settings.MAILBOX_TOKEN)


def set_cookie(response: HttpResponse) -> None:
    """Open the mailbox to the browser that gets `response`."""
    response.set_cookie(
        COOKIE, _cookie_value(), max_age=COOKIE_AGE_S, httponly=True, samesite="Lax"
    )


def is_open_to(request: HttpRequest) -> bool:
    """True when there is a mailbox and this browser has opened it."""
    cookie = request.COOKIES.get(COOKIE, "")
    return settings.LOCAL_MAILBOX and constant_time_compare(cookie, _cookie_value())


def local_mailbox(request: HttpRequest) -> dict[str, bool]:
    """Return the template variables for the sentence about the mailbox, with or without a link."""
    return {"has_mailbox": settings.LOCAL_MAILBOX, "mailbox_is_open": is_open_to(request)}


def _cookie_value() -> str:
    """Return what only a browser can know that has sent the token."""
    return salted_hmac(_SALT, settings.MAILBOX_TOKEN, algorithm="sha256").hexdigest()


def _folder() -> Path:
    return settings.STATE_DIR / "mailbox"


def _files() -> Iterator[Path]:
    return _folder().glob("*.json")


def _read(path: Path) -> Mail | None:
    try:
        fields = json.loads(path.read_text())
        fields["sent_at"] = dt.datetime.fromisoformat(fields["sent_at"])
        return Mail(id=path.stem, **fields)
    except (OSError, ValueError):  # Another process has just deleted it.
        return None
