"""Mail on a machine without a mail server: files below STATE_DIR, shown at /mailbox for an hour.

It is only for trying Kyma: in production there is no such mailbox (settings.LOCAL_MAILBOX).
"""

import dataclasses
import datetime as dt
import json
import os
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend
from django.http import HttpRequest

from accounts.ids import uuid7

KEPT = dt.timedelta(hours=1)


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


def is_open_to(request: HttpRequest) -> bool:
    """True when there is a mailbox and `request` comes from this machine."""
    return settings.LOCAL_MAILBOX and _is_loopback(request)


def local_mailbox(request: HttpRequest) -> dict[str, bool]:
    """Return the template variable that shows or hides the link to the mailbox."""
    return {"local_mailbox": is_open_to(request)}


def _is_loopback(request: HttpRequest) -> bool:
    """True when the peer is this machine. False behind a proxy: there everybody looks local."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


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
