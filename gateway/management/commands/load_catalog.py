import os

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gateway.catalogue import files as catalogue_files
from gateway.catalogue import loading


class Command(BaseCommand):
    help = (
        "Load providers.toml and catalog.toml of gateway/catalogue into the database. Safe to "
        "repeat. Rows that the admin has enabled or disabled stay so."
    )

    def handle(self, **options):
        environment = {**os.environ, "LOCAL_PROVIDER_URL": settings.LOCAL_PROVIDER_URL}
        try:
            outcome = loading.load(catalogue_files.read(), environment=environment)
        except catalogue_files.CatalogError as error:
            raise CommandError(str(error)) from error
        for warning in outcome.warnings:
            self.stderr.write(f"Warning: {warning}")
        self.stdout.write(summary(outcome))


def summary(outcome: loading.Outcome) -> str:
    text = (
        f"{outcome.models} models, {outcome.routes} routes, {outcome.new_prices} new prices; "
        f"providers routable: {', '.join(outcome.routable) or 'none'}"
    )
    if outcome.withheld:
        text += f"; only with a person's consent (P7): {', '.join(outcome.withheld)}"
    return text
