"""Kyma's settings, for tests: state in a temporary folder, and dj-stripe's tables at once."""

import atexit
import os
import shutil
import tempfile

if "KYMA_STATE_DIR" not in os.environ:
    # Set in the environment, so that processes that a test starts share it.
    os.environ["KYMA_STATE_DIR"] = tempfile.mkdtemp(prefix="kyma-tests-")
    atexit.register(shutil.rmtree, os.environ["KYMA_STATE_DIR"], ignore_errors=True)

from kyma.settings import *  # noqa: E402, F403
from kyma.settings import STATIC_ROOT  # noqa: E402

# Its own migrations take 35 s.
MIGRATION_MODULES = {"djstripe": "tests.djstripe_schema"}

STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # Or WhiteNoise warns.

SHOWCASE_TTL_S = 0  # What one test made must not be shown to the next.
