"""The description of /api/ for programs, and the page that shows it to people.

The page is made here from that description, without scripts or styles other than the site's own.
"""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from kyma.api import reference
from kyma.api.description import document
from kyma.api.resource import Public


class Schema(Public):
    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(document())


@require_safe
@login_not_required
def page(request: HttpRequest) -> HttpResponse:
    base_url = request.build_absolute_uri("/").rstrip("/")
    shown = {
        "base_url": base_url,
        "sections": reference.sections(base_url),
        "things": reference.things(),
        "scopes": ApiKey.Scope.choices,
        "rates": settings.API_REQUESTS_PER_MINUTE,
        "searches": settings.CHAT_SEARCHES_PER_MINUTE,
    }
    return render(request, "api/docs.html", shown)
