"""What a person has and has spent."""

from django.urls import path
from django.views.generic import TemplateView

_soon = TemplateView.as_view(template_name="soon.html")

urlpatterns = [
    path("billing", _soon, name="billing"),
]
