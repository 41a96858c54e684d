"""Addresses of signing in and of the own account.

allauth's own list has pages for self-made accounts and e-mail, which this portal has not.
"""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.socialaccount import views as social
from django.contrib.auth.decorators import login_not_required
from django.urls import path

from xmailadmin.views import account as own
from xmailadmin.views import single_sign_on

urlpatterns = [
    path("", own.account, name="account"),
    path("login/", own.begun_lately(account.login), name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("signup/", account.signup, name="account_signup"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("password/", account.password_change, name="account_change_password"),
    path("password/set/", account.password_set, name="account_set_password"),
    path("password/choose/", own.choose_password, name="choose_password"),
    path("link/<str:token>/", own.access_link, name="access_link"),
    path("sessions/", own.session_list, name="session_list"),
    path("sessions/end/", own.session_end, name="session_end"),
    # Second factors.
    path("two-factor/", mfa.index, name="mfa_index"),
    path("two-factor/needed/", own.second_factor_needed, name="second_factor_needed"),
    path("two-factor/continue/", own.continue_to, name="continue_to"),
    path("two-factor/sign-in/", own.begun_lately(mfa.authenticate), name="mfa_authenticate"),
    path("two-factor/confirm/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("two-factor/app/add/", own.whole(totp.activate_totp), name="mfa_activate_totp"),
    path("two-factor/app/remove/", own.whole(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("two-factor/keys/", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path("two-factor/keys/add/", own.whole(webauthn.add_webauthn), name="mfa_add_webauthn"),
    path(
        "two-factor/keys/<int:pk>/edit/",
        own.whole(webauthn.edit_webauthn),
        name="mfa_edit_webauthn",
    ),
    path(
        "two-factor/keys/<int:pk>/remove/",
        own.whole(webauthn.remove_webauthn),
        name="mfa_remove_webauthn",
    ),
    path(
        "two-factor/keys/confirm/",
        own.ConfirmByKey.as_view(),
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "two-factor/codes/",
        own.shown_once(recovery_codes.view_recovery_codes),
        name="mfa_view_recovery_codes",
    ),
    path(
        "two-factor/codes/new/",
        own.whole(recovery_codes.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "two-factor/codes/file/",
        own.shown_once(recovery_codes.download_recovery_codes),
        name="mfa_download_recovery_codes",
    ),
    # Single sign-on; without a provider in the environment these find nothing.
    path(
        "sso/",
        own.whole(single_sign_on.confirmed(social.connections)),
        name="socialaccount_connections",
    ),
    path("sso/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("sso/error/", login_not_required(social.login_error), name="socialaccount_login_error"),
    path("sso/connect/", single_sign_on.connect, name="socialaccount_connect"),
    path("sso/confirm/", single_sign_on.confirm, name="socialaccount_confirm"),
    path("sso/signup/", social.signup, name="socialaccount_signup"),
    path("sso/<slug:provider_id>/", single_sign_on.start, name="openid_connect_login"),
    path(
        "sso/<slug:provider_id>/callback/", single_sign_on.callback, name="openid_connect_callback"
    ),
]
