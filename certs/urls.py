"""Addresses of the certs pages."""

from django.urls import include, path

from certs.views import pairs

urlpatterns = [
    path("pairs/", pairs.pair_list, name="pair_list"),
    path("pairs/<int:pk>/", pairs.pair_detail, name="pair_detail"),
    path("pairs/<int:pk>/progress/", pairs.pair_progress, name="pair_progress"),
    path("pairs/<int:pk>/text/", pairs.pair_text, name="pair_text"),
    path("pairs/<int:pk>/memo/", pairs.pair_memo, name="pair_memo"),
    path("pairs/<int:pk>/server.cert", pairs.pair_certificate, name="pair_certificate"),
    path("pairs/<int:pk>/server.der", pairs.pair_der, name="pair_der"),
    path("pairs/<int:pk>/server.key", pairs.pair_key, name="pair_key"),
    path("pairs/<int:pk>/pair.zip", pairs.pair_zip, name="pair_zip"),
    path("", include("certs.urls_clients")),
]
