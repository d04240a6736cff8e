"""The parts of allauth that it calls internal, and that have no public counterpart.

An update of allauth may rename or change them without a word, so no other module imports any. They
were read in allauth 65.21.1; read them again with each new version.

- `clear_login(request)` forgets a sign-in that waits for its next step, such as a code, and the
  steps shown so far. Public is only the logout, which takes a person who has signed in.
- `EMAIL_VERIFICATION_CODE_SESSION_KEY` names the entry of the session that holds a mailed code. It
  is there when an earlier mail reached the person, who can then still enter that code.
- `consume_rate(request, action, rate, key)` counts a try, and returns None when there were too
  many. allauth can take it back later. Public is only a function that answers yes or no.
"""

from allauth.account.internal.flows.email_verification_by_code import (
    EMAIL_VERIFICATION_CODE_SESSION_KEY,
)
from allauth.account.internal.stagekit import clear_login
from allauth.core.internal import ratelimit
from django.http import HttpRequest

__all__ = ["EMAIL_VERIFICATION_CODE_SESSION_KEY", "clear_login", "consume_rate"]


def consume_rate(
    request: HttpRequest, action: str, rate: str, key: str
) -> ratelimit.RateLimitUsage | None:
    return ratelimit.consume(
        request, app="allauth.account", action=action, config={action: rate}, key=key
    )
