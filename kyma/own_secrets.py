"""The secrets that a Kyma on one machine makes for itself. The settings read them."""

import base64
import os
import secrets
from pathlib import Path


def kept(path: Path) -> str:
    """Return the secret in the file `path`, made at the first start for its owner's eyes only."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        try:
            os.link(draft, path)  # Fails if another process was first; its secret is then used.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
