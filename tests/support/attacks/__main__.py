"""`python -m tests.support.attacks NAME ADDRESS SECONDS JSON`: one attack, in its own process.

So it shares no interpreter with the reader whose waits are measured meanwhile. It prints how often
each status was answered.
"""

import importlib
import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
name, address, seconds, arguments = sys.argv[1:]
attack = importlib.import_module(f"tests.support.attacks.{name}")
answered = attack.run(address, seconds=float(seconds), **json.loads(arguments))
print(json.dumps(answered))
