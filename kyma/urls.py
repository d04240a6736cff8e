from django.contrib import admin
from django.urls import path

from kyma import health

urlpatterns = [
    path("health", health.live),
    path("ready", health.ready),
    path("admin/", admin.site.urls),
]
