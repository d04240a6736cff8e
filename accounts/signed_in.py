from django.http import HttpRequest

from accounts.models import User


class SignedInRequest(HttpRequest):
    """What a private page is given: LoginRequiredMiddleware lets nobody else through."""

    user: User
