"""Second factors. allauth stores their secrets sealed.

The seeds of authenticator apps and of recovery codes are sealed under the master key, not under
the person's data key, because allauth's hooks name neither the person nor the row.
"""

import base64

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator

from accounts.encryption import open_under_master_key, seal_under_master_key

PLACE = "mfa.Authenticator"


class MfaAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return base64.b64encode(seal_under_master_key(text.encode(), PLACE)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises SealBroken if it was sealed under a master key that isn't configured."""
        return open_under_master_key(base64.b64decode(encrypted_text), PLACE).decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Kyma"}

    def generate_authenticator_name(self, user, type) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}"


def was_shown(request) -> bool:
    """True when this session has shown a second factor and the person still has one."""
    records = get_authentication_records(request, request.user)
    if not any(record["method"] == "mfa" for record in records):
        return False
    return Authenticator.objects.filter(user=request.user).exists()


def reauthentication_address(user) -> str | None:
    """Return the page where `user` shows a second factor, or None without a second factor."""
    methods = get_adapter().get_reauthentication_methods(user)
    return next((one["url"] for one in methods if one["id"].startswith("mfa_")), None)
