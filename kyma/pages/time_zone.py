"""Times and days of pages in the zone of whoever looks, as their browser tells in a cookie."""

import functools
import zoneinfo

from django.utils import timezone

COOKIE = "timezone"


class TimeZoneMiddleware:
    """Without a cookie, or with one that names no zone, times are UTC."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with timezone.override(_zone(request.COOKIES.get(COOKIE, ""))):
            return self.get_response(request)


def time_zone(request) -> dict[str, str]:
    """For templates: the name of the zone in which they show times."""
    return {"time_zone": timezone.get_current_timezone_name()}


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    return zoneinfo.ZoneInfo(name) if name in names() else None


@functools.cache
def names() -> frozenset[str]:
    """Of all zones; to find them takes a while."""
    return frozenset(zoneinfo.available_timezones())
