"""Every route of the URL configuration, as text with its parameters and as paths to ask for."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from django.urls import URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

SAMPLES = {"int": "1", "uuid": "00000000-0000-7000-8000-000000000000"}
REGEX_GROUP = r"\(\?P<(\w+)>((?:[^()]|\([^()]*\))*)\)"
ROUTE_PARAMETER = r"<(?:(\w+):)?(\w+)>"


@dataclasses.dataclass(frozen=True)
class Route:
    """`text` is what stands in the URL configuration, with each parameter as `<name>`.

    A parameter's `place` is `text` up to its end: "chat/<conversation>/messages/<message>".
    """

    text: str
    name: str | None = None
    samples: tuple[str, ...] = ()

    def places(self) -> list[str]:
        return [self.text[: match.end()] for match in re.finditer(r"<\w+>", self.text)]

    def path(self, values: Mapping[str, object]) -> str:
        """The path with, for each place, what `values` says."""
        path = self.text
        for place in self.places():
            path = path.replace(f"<{place.rpartition('<')[2]}", str(values[place]), 1)
        return path

    def sample_path(self) -> str:
        """A path that matches, to nothing that exists."""
        return self.path(dict(zip(self.places(), self.samples, strict=True)))


def routes(urlconf: str) -> list[Route]:
    return list(_below(get_resolver(urlconf), Route("")))


def _below(resolver, parent: Route) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        text, samples = _parts(pattern.pattern)
        name = None if isinstance(pattern, URLResolver) else pattern.name
        route = Route(parent.text + text, name, parent.samples + samples)
        if isinstance(pattern, URLResolver):
            yield from _below(pattern, route)
        else:
            yield route


def _parts(pattern) -> tuple[str, tuple[str, ...]]:
    if isinstance(pattern, RoutePattern):
        found = re.findall(ROUTE_PARAMETER, str(pattern))
        text = re.sub(ROUTE_PARAMETER, r"<\2>", str(pattern))
        return text, tuple(SAMPLES.get(converter, "x") for converter, _ in found)
    text = str(pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
    samples = tuple(_first_choice(group) for _, group in re.findall(REGEX_GROUP, text))
    return re.sub(REGEX_GROUP, r"<\1>", text).replace("\\", "").replace("/?", "/"), samples


def _first_choice(group: str) -> str:
    return group.split("|")[0] if re.fullmatch(r"[\w|]+", group) else "x"
