import json
import sys
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from gateway.receipts import keys as receipt_keys
from gateway.receipts import receipt as receipts


class Command(BaseCommand):
    help = "Check a receipt: its signature, each line and the total. Exit code 1 if it is wrong."
    requires_system_checks = ()  # The command needs no database or secret, only published keys.

    def add_arguments(self, parser):
        parser.add_argument("file", help="the answer of /v1/generation?id=, or only its receipt")
        parser.add_argument(
            "--keys",
            metavar="FILE",
            help="the answer of /v1/receipts/keys; by default, this installation's own keys count",
        )

    def handle(self, *, file, keys, **options):
        receipt = _receipt_in(_json_in(file))
        found_wrong = False
        for check in receipts.checks(receipt, _keys(keys)):
            self.stdout.write(f"{'ok   ' if check.is_right else 'WRONG'} {check.sentence}")
            found_wrong = found_wrong or not check.is_right
        if found_wrong:
            self.stderr.write(f"{file}: this receipt is wrong.")
            sys.exit(1)
        self.stdout.write(f"{file}: the receipt of request {receipt['request_id']} is right.")


def _keys(path: str | None) -> list[receipt_keys.PublicKey]:
    if path is None:
        return receipt_keys.own()
    try:
        return receipt_keys.read(_json_in(path))
    except ValueError as error:
        raise CommandError(f"{path} holds no keys: {error}.") from error


def _json_in(path: str) -> dict:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} holds no JSON.") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} holds no JSON object.")
    return found


def _receipt_in(found: dict) -> dict:
    """Return the receipt in the JSON: under "data" and "receipt" if they exist, or all of it."""
    for name in ("data", "receipt"):
        inner = found.get(name)
        found = inner if isinstance(inner, dict) else found
    return found
