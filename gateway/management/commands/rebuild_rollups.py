from django.core.management.base import BaseCommand

from gateway.analytics import rollups


class Command(BaseCommand):
    help = (
        "Make the usage rollups anew from the request log. Safe at any time, and to repeat: "
        "meanwhile usage is read from the log itself."
    )

    def handle(self, **options):
        self.stdout.write(f"folded {rollups.rebuild()} hours")
