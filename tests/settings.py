"""Kyma's settings, for tests: state in a temporary folder, and dj-stripe's tables at once."""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.support.ports import free_port

if "KYMA_STATE_DIR" not in os.environ:
    # Set in the environment, so that processes that a test starts share it.
    os.environ["KYMA_STATE_DIR"] = tempfile.mkdtemp(prefix="kyma-tests-")
    atexit.register(shutil.rmtree, os.environ["KYMA_STATE_DIR"], ignore_errors=True)
    # Nothing listens there as long as this process lives, so an absent Redis stays absent.
    _ports = {"redis": free_port(), "local_provider": free_port()}
    Path(os.environ["KYMA_STATE_DIR"], "ports.json").write_text(json.dumps(_ports))

# In this process and in those that it starts: what a test has changed is seen at once, and a slow
# machine doesn't look like a broken one. Tests of these times set their own (support/live.py).
PATIENCE = {
    "CACHE_TTL_S": "0",
    "ADMISSION_TIMEOUT_S": "30",
    "SETTLE_TIMEOUT_S": "30",
    "DATABASE_TIMEOUT_S": "30",
    "DATABASE_POOL_TIMEOUT_S": "30",
    "COMMIT_TIMEOUT_S": "120",
    "COMMIT_STALLED_AFTER_S": "30",
    "REDIS_TIMEOUT_S": "30",
    "UPSTREAM_CONNECT_TIMEOUT_S": "30",
    "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "60",
    "UPSTREAM_ANSWER_TIMEOUT_S": "60",
    "UPSTREAM_IDLE_TIMEOUT_S": "60",
    "KEEP_ALIVE_INTERVAL_S": "30",
    "DRAIN_AFTER_HANG_UP_S": "30",
    "UNTRUSTED_WAIT_S": "20",
    "CHAT_SEARCH_TIME_S": "30",
    "HEAD_TIMEOUT_S": "60",
    "BODY_TIMEOUT_S": "60",
    # All tests come from one address.
    "CONNECTIONS_PER_ADDRESS": "10000",
    "UNKNOWN_KEYS_PER_MINUTE": "100000",
}
for _name, _seconds in PATIENCE.items():
    os.environ.setdefault(_name, _seconds)
# The scripted provider stands on this machine, also where it plays a hosted one.
os.environ.setdefault("HOSTED_PROVIDER_NETWORKS", "127.0.0.0/8,::1/128")

from kyma.settings import *  # noqa: E402, F403
from kyma.settings import API_REQUESTS_PER_MINUTE, STATIC_ROOT  # noqa: E402

# Its own migrations take 35 s.
MIGRATION_MODULES = {"djstripe": "tests.support.djstripe_schema"}

PASSWORD_HASHERS = ["tests.support.passwords.CheapArgon2PasswordHasher"]

# Limits of one test must not reach the next: conftest empties it.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # Or WhiteNoise warns.

SHOWCASE_TTL_S = 0  # What one test made must not be shown to the next.

# Tests ask more often than people; those about these limits set their own.
CHAT_SEARCHES_PER_MINUTE = 100_000
API_REQUESTS_PER_MINUTE = dict.fromkeys(API_REQUESTS_PER_MINUTE, 100_000)
