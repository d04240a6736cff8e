"""HTTP sessions for what isn't on the request path: lists of models, and probes."""

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from gateway.models.addresses import may_ask


def session(*, is_self_hosted: bool) -> requests.Session:
    """Return a session that, like the gateway, uses no proxy, no .netrc and no wrong address.

    The address is checked when the connection is made, before anything is sent: a name may lead
    elsewhere from one moment to the next.
    """
    made = requests.Session()
    made.trust_env = False
    for scheme in ("http://", "https://"):
        made.mount(scheme, _CheckingAdapter(is_self_hosted))
    return made


class _CheckingAdapter(HTTPAdapter):
    def __init__(self, is_self_hosted: bool):
        self._is_self_hosted = is_self_hosted
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, False, self._is_self_hosted),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, True, self._is_self_hosted),
        }


def _pool(pool: type, connection: type, is_tls: bool, is_self_hosted: bool) -> type:
    """Return a class of pools whose connections check where they lead."""

    class Checking(connection):
        def _new_conn(self):
            made = super()._new_conn()
            address = made.getpeername()[0]
            if not may_ask(address, is_tls=is_tls, is_self_hosted=is_self_hosted):
                made.close()
                raise NewConnectionError(self, f"no provider may stand at {address}")
            return made

    return type("CheckingPool", (pool,), {"ConnectionCls": Checking})
