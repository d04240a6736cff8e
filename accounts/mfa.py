"""Second factors: what allauth stores of them lies sealed.

The seeds of authenticator apps and of recovery codes are sealed under the master key, not under
the person's data key: allauth's hooks say neither whose secret nor which row it is.
"""

import base64

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator

from accounts.encryption import open_under_master_key, seal_under_master_key

PLACE = "mfa.Authenticator"
SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


class MfaAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return base64.b64encode(seal_under_master_key(text.encode(), PLACE)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises SealBroken, if it was sealed under a master key that isn't configured."""
        return open_under_master_key(base64.b64decode(encrypted_text), PLACE).decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Kyma"}

    def generate_authenticator_name(self, user, type) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}"


def has_second_factor(user) -> bool:
    """Whether signing in asks `user` for more than a password."""
    return user.is_authenticated and (
        Authenticator.objects.filter(user_id=user.pk, type__in=SECOND_FACTORS).exists()
    )
