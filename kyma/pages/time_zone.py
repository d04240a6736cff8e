"""Shows times in the visitor's time zone, which the browser sends in a cookie."""

import functools
import zoneinfo

from django.utils import timezone

COOKIE = "timezone"


class TimeZoneMiddleware:
    """Without a cookie, or with an unknown zone in it, times are UTC."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with timezone.override(_zone(request.COOKIES.get(COOKIE, ""))):
            return self.get_response(request)


def time_zone(request) -> dict[str, str]:
    """Return the template variable with the name of the zone in which times are shown."""
    return {"time_zone": timezone.get_current_timezone_name()}


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    return zoneinfo.ZoneInfo(name) if name in names() else None


@functools.cache
def names() -> frozenset[str]:
    """Return the names of all zones. Cached, because finding them takes a while."""
    return frozenset(zoneinfo.available_timezones())
