"""Mails from templates. Each has three files of one name, for subject, text and HTML."""

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string


def send(template: str, address: str, context: dict) -> None:
    """Send the mail `template` to `address`. Raises SMTPException, OSError."""
    message(template, address, context).send()


def message(template: str, address: str, context: dict) -> EmailMultiAlternatives:
    context = {**context, "email": address}
    subject = " ".join(render_to_string(f"{template}_subject.txt", context).split())
    text = render_to_string(f"{template}_message.txt", context).strip() + "\n"
    mail = EmailMultiAlternatives(subject, text, settings.DEFAULT_FROM_EMAIL, [address])
    mail.attach_alternative(render_to_string(f"{template}_message.html", context), "text/html")
    return mail
