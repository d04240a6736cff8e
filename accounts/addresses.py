"""E-mail addresses: the ones that reach the same mailbox, and the domains that are refused."""

import dataclasses

from allauth.account.models import EmailAddress

from accounts.models import DisposableDomain, User


@dataclasses.dataclass(frozen=True)
class MailHost:
    """How a large mail host reads the part of an address before the @."""

    domain: str
    ignored: str = ""  # characters that make no difference
    tag: str = "+"  # this and all that follows it makes no difference either


# Only rules that the hosts publish: one rule too many would take two people for one.
_HOSTS = {
    MailHost("gmail.com", ignored="."): ("gmail.com", "googlemail.com"),
    MailHost("proton.me", ignored=".-_"): ("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
    MailHost("icloud.com"): ("icloud.com", "me.com", "mac.com"),
    MailHost("yandex.ru"): ("yandex.ru", "yandex.com", "yandex.by", "yandex.kz", "ya.ru"),
    MailHost("fastmail.com"): ("fastmail.com",),
    MailHost("fastmail.fm"): ("fastmail.fm",),
    MailHost("yahoo.com", tag="-"): ("yahoo.com",),
    **{
        MailHost(domain): (domain,)
        for domain in (
            *("outlook.com", "hotmail.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr"),
            *("hotmail.de", "outlook.de", "outlook.fr", "live.co.uk", "live.fr", "live.nl"),
            *("zoho.com", "zohomail.com", "zohomail.eu", "mailbox.org", "posteo.de", "posteo.net"),
            *("tuta.com", "tutanota.com", "tutanota.de", "tuta.io", "runbox.com", "hey.com"),
        )
    },
}
_PERSON_IN_DOMAIN = (".fastmail.com", ".fastmail.fm")
MAIL_HOSTS = {domain: host for host, domains in _HOSTS.items() for domain in domains}

# Mail services that many people use, who have nothing to do with each other.
WIDELY_KNOWN = {
    *MAIL_HOSTS,
    *("aol.com", "att.net", "bol.com.br", "btinternet.com", "comcast.net", "daum.net", "free.fr"),
    *("gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net", "hanmail.net", "hotmail.es"),
    *("hotmail.it", "laposte.net", "libero.it", "mail.com", "mail.ru", "naver.com", "orange.fr"),
    *(
        "outlook.es",
        "outlook.it",
        "qq.com",
        "rediffmail.com",
        "seznam.cz",
        "sina.com",
        "t-online.de",
    ),
    *("uol.com.br", "web.de", "wp.pl", "yahoo.ca", "yahoo.co.in", "yahoo.co.jp", "yahoo.co.uk"),
    *("yahoo.com.br", "yahoo.de", "yahoo.es", "yahoo.fr", "yahoo.it", "yeah.net", "ymail.com"),
    *(
        "t-online.de",
        "126.com",
        "163.com",
        "o2.pl",
        "onet.pl",
        "bigpond.com",
        "sbcglobal.net",
        "verizon.net",
    ),
}


def normalised(address: str) -> str:
    """Return the one form of all addresses that reach the same mailbox at a large mail host."""
    local, _, domain = address.strip().lower().rpartition("@")
    domain = domain.rstrip(".")
    if domain.endswith(_PERSON_IN_DOMAIN):  # anything@person.fastmail.com
        person, _, domain = domain.partition(".")
        local = person
    host = MAIL_HOSTS.get(domain)
    if host is None:
        return f"{local}@{domain}"
    local = local.split(host.tag, 1)[0] or local
    for character in host.ignored:
        local = local.replace(character, "")
    return f"{local}@{host.domain}"


def domain_of(address: str) -> str:
    """Return the domain of the mailbox, without the person whom some hosts name in front of it."""
    return normalised(address).rpartition("@")[2]


def is_disposable(address: str) -> bool:
    """True when the domain, or one above it, is refused on the operator's list."""
    labels = address.strip().lower().rpartition("@")[2].rstrip(".").split(".")
    domains = [".".join(labels[start:]) for start in range(len(labels))]
    return DisposableDomain.objects.filter(domain__in=domains, is_refused=True).exists()


def mark_verified(user: User) -> None:
    """Mark the address of `user` as verified, and delete their other addresses. Safe to repeat."""
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )
