"""The portal's addresses."""

from allauth.account import views as account
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

from xmailadmin import views

urlpatterns = [
    path("", include("hosts.urls")),
    path("", include("certs.urls")),
    # allauth's own list has pages for self-made accounts and e-mail, which this portal has not.
    path("account/", views.account, name="account"),
    path("account/login/", account.login, name="account_login"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/signup/", account.signup, name="account_signup"),
    path("account/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", account.password_change, name="account_change_password"),
    path("account/password/set/", account.password_set, name="account_set_password"),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
]
