from django.core.management.base import BaseCommand

from kyma import web


class Command(BaseCommand):
    help = "Run one web process: pages, API and gateway."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--fd", type=int, help="A listening socket to use instead.")

    def handle(self, *, host, port, fd, **options):
        web.serve(host=host, port=port, fd=fd)
