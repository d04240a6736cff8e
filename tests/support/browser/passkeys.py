"""A passkey as it lies in the database, made without a browser: for pages that only show it."""

import os

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal.auth import WebAuthn
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import (
    Aaguid,
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorAttestationResponse,
    AuthenticatorData,
    CollectedClientData,
    PublicKeyCredentialRpEntity,
    RegistrationResponse,
)

from accounts.models import User
from tests.support.browser.chromium import HOST


def make_passkey(user: User, name: str = "Laptop") -> Authenticator:
    """One that signs in alone. Its private half is thrown away."""
    credential_id = os.urandom(32)
    public = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    attested = AttestedCredentialData.create(Aaguid.NONE, credential_id, public)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    site = PublicKeyCredentialRpEntity(id=HOST, name="Kyma")
    data = AuthenticatorData.create(site.id_hash, flags, 0, attested)
    registration = RegistrationResponse(
        raw_id=credential_id,
        response=AuthenticatorAttestationResponse(
            client_data=CollectedClientData.create("webauthn.create", b"", f"http://{HOST}"),
            attestation_object=AttestationObject.create("none", data, {}),
        ),
    )
    credential = {**dict(registration), "clientExtensionResults": {"credProps": {"rk": True}}}
    return WebAuthn.add(user, name, credential).instance
