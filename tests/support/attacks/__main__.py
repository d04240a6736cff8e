"""`python -m tests.support.attacks NAME ADDRESS SECONDS JSON`: one attack, in its own process.

So it shares no interpreter with the victim's reader, whose waits are measured meanwhile.
"""

import importlib
import json
import sys

name, address, seconds, arguments = sys.argv[1:]
attack = importlib.import_module(f"tests.support.attacks.{name}")
attack.run(address, seconds=float(seconds), **json.loads(arguments))
