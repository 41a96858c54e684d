"""Addresses of the page for mail users: what the team does with it, and the public page."""

from django.urls import path

from hosts.views import reader, reader_team

urlpatterns = [
    path("hosts/<int:pk>/mail-users/", reader_team.host_reader, name="host_reader"),
    path("pairs/<int:pk>/mail-users/", reader_team.pair_reader, name="pair_reader"),
    path("mail-users/<int:pk>/announce/", reader_team.reader_announce, name="reader_announce"),
    path("mail-users/<int:pk>/renew/", reader_team.reader_renew, name="reader_renew"),
    path("mail-users/<int:pk>/withdraw/", reader_team.reader_withdraw, name="reader_withdraw"),
    # Public: known only to those who were given the link.
    path("r/<str:token>/", reader.reader_page, name="reader_page"),
    path("r/<str:token>/qr.svg", reader.reader_qr, name="reader_qr"),
    path(
        "r/<str:token>/certificate.pem",
        reader.reader_certificate_pem,
        name="reader_certificate_pem",
    ),
    path(
        "r/<str:token>/certificate.cer",
        reader.reader_certificate_der,
        name="reader_certificate_der",
    ),
    path("r/<str:token>/mail.mobileconfig", reader.reader_profile, name="reader_profile"),
    path("r/<str:token>/config-v1.1.xml", reader.reader_autoconfig, name="reader_autoconfig"),
    path("r/", reader.reader_nowhere, name="reader_nowhere"),
    path("r/<path:token>", reader.reader_nowhere, name="reader_nowhere"),
]
