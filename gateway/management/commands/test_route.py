import sys

from django.core.management.base import BaseCommand, CommandError

from gateway.models import Route
from gateway.providers import probes


class Command(BaseCommand):
    help = (
        "Ask each route of MODEL for one token, whole and streamed, and print the results. Costs "
        "a fraction of a cent. Exit code 1 if any route failed."
    )

    def add_arguments(self, parser):
        parser.add_argument("model", metavar="MODEL", help="the model's slug")
        parser.add_argument("--provider", metavar="SLUG", help="test only this provider's route")

    def handle(self, *, model, provider, **options):
        routes = Route.objects.filter(model__slug=model).order_by("provider__slug")
        if provider:
            routes = routes.filter(provider__slug=provider)
        outcomes = probes.test_routes(routes)
        if not outcomes:
            raise CommandError(
                f"there is no route to {model}" + f" via {provider}" * bool(provider)
            )
        for route, outcome in outcomes:
            self.stdout.write(line(route, outcome))
        if not all(outcome.ok for _, outcome in outcomes):
            sys.exit(1)


def line(route: Route, outcome: probes.RouteTest) -> str:
    is_on = route.enabled and route.model.enabled and route.provider.enabled
    word = "ok" if outcome.ok else "FAILED"
    state = "" if is_on else " (switched off)"
    return f"{word} {route.model.slug} via {route.provider.slug}{state}: {outcome}"
