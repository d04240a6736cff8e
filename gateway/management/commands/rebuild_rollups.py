from django.core.management.base import BaseCommand

from gateway.analytics import rollups


class Command(BaseCommand):
    help = (
        "Rebuild the usage rollups from the request log. Safe to run at any time and to repeat: "
        "until it is done, usage is read from the log itself."
    )

    def handle(self, **options):
        self.stdout.write(f"folded {rollups.rebuild()} hours")
