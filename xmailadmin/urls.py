"""The portal's addresses. Each needs an entry in xmailadmin/access.py."""

from django.urls import include, path

from xmailadmin.views.language import set_language

handler500 = "xmailadmin.views.failure.server_error"

urlpatterns = [
    path("", include("hosts.urls")),
    path("", include("hosts.urls_reader")),
    path("", include("certs.urls")),
    path("", include("xmailadmin.urls_people")),
    path("account/", include("xmailadmin.urls_account")),
    path("i18n/setlang/", set_language, name="set_language"),
]
