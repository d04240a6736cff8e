"""The text that `manage.py up` prints once Kyma is ready."""

import json
import os
import shlex
import sys

from django.conf import settings

from accounts import mailbox
from kyma.machine import beside
from kyma.machine.first_run import Login, password_was_changed

MODEL = "smollm2-135m"
# The small model answers this question right every time, but that for France's capital only often.
QUESTION = "What is the capital of Japan?"
MAX_TOKENS = 64

_TEXT = """
Kyma is ready: {address}

  Dashboard  {address}/dashboard
  Admin      {address}/admin/
  E-mail     {email}
  Password   {password}
  API key    {key}

A first question:

{question}

{mail}{beside}Logs lie in {logs}. Ctrl-C ends everything.
"""

_LOCAL_MAIL = """\
There is no mail server: codes and links are printed here. For an hour they lie in a mailbox, which
this link opens to your browser:
{address}{link}
"""

_BESIDE = """\
Port {port} has a Kyma of its own since it first started beside another: its accounts, keys and
chats lie in {folder}. For those in {usual}, while no other Kyma has them:
make run PORT={port} KYMA_STATE_DIR={usual}
"""


def text(port: int, login: Login, key: str | None) -> str:
    """Return the welcome, with the administrator's new API key or the command for another one."""
    address = f"http://localhost:{port}"
    password = "(another than at first)" if password_was_changed(login) else login.password
    if key:
        credit = f"${settings.SIGNUP_CREDIT_NANO / 1e9:.2f}"
        shown_key = f"{key}  (shown only now; its account has {credit})"
        question = _question(address, key)
    else:
        command = _create_key_command(login)
        shown_key = f"was shown at the first start; for another: {command}"
        question = f"  KEY=$({command})\n{_question(address, '$KEY')}"
    return _TEXT.format(
        address=address,
        email=login.email,
        password=password,
        key=shown_key,
        question=question,
        mail=_local_mail(address) if settings.LOCAL_MAILBOX else "",
        beside=_beside(port) if beside.is_here(port) else "",
        logs=settings.STATE_DIR / "log",
    )


def _local_mail(address: str) -> str:
    return _LOCAL_MAIL.format(address=address, link=mailbox.link())


def _question(address: str, key: str) -> str:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": MAX_TOKENS,
    }
    return (
        f'  curl {address}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    )


def _beside(port: int) -> str:
    folder = settings.STATE_DIR
    return _BESIDE.format(port=port, folder=_short(str(folder)), usual=_short(str(folder.parent)))


def _create_key_command(login: Login) -> str:
    """Return a command to paste into a shell that stands in this process's folder."""
    variable = os.environ.get("KYMA_STATE_DIR")
    prefix = f"KYMA_STATE_DIR={shlex.quote(_short(variable))} " if variable else ""
    paths = (sys.executable, str(settings.BASE_DIR / "manage.py"))
    return prefix + shlex.join([*map(_short, paths), "create_key", "--email", login.email])


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
