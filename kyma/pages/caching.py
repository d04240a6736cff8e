"""Keeps the pages of signed-in people out of all caches and of the browser's history.

Otherwise the next person at the browser could go back to them after a sign-out.
"""

from django.http import HttpRequest, HttpResponse


class PrivatePagesMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # In this order, as the page of an error may not need the database.
        if "Cache-Control" not in response and request.user.is_authenticated:
            response["Cache-Control"] = "private, no-store"
        return response
