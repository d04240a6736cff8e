from django.contrib import admin
from django.urls import include, path

from kyma import health

urlpatterns = [
    path("health", health.live),
    path("health/detail", health.detail),
    path("ready", health.ready),
    path("admin/", admin.site.urls),
    path("api/", include("kyma.api.urls")),
    path("", include("kyma.pages.urls")),
    path("", include("accounts.urls")),
    path("", include("billing.urls")),
    path("", include("gateway.pages.urls")),
    path("", include("chat.pages.urls")),
]

handler404 = "kyma.api.problems.not_found"
handler500 = "kyma.api.problems.failed"
