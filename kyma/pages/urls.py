"""The addresses of Kyma's public pages and of the overview."""

from django.urls import path

from kyma.pages import overview
from kyma.pages import public as public_pages
from privacy import views as privacy

urlpatterns = [
    path("", public_pages.landing, name="landing"),
    path("docs", public_pages.docs, name="docs"),
    path("terms", public_pages.terms, name="terms"),
    path("contact", public_pages.contact, name="contact"),
    path("privacy", privacy.policy, name="policy"),
    path("dashboard", overview.overview, name="overview"),
    path("dashboard/balance", overview.balance, name="balance"),
    path("settings/privacy", privacy.privacy_settings, name="privacy_settings"),
    path("settings/privacy/choose", privacy.choose_providers, name="choose_providers"),
]
