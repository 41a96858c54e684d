"""Addresses of the team and of the audit, for administrators."""

from django.urls import path

from xmailadmin.views import audit, people

urlpatterns = [
    path("people/", people.person_list, name="person_list"),
    path("people/invite/", people.person_invite, name="person_invite"),
    path("people/<int:pk>/", people.person_detail, name="person_detail"),
    path("people/<int:pk>/roles/", people.person_roles, name="person_roles"),
    path("people/<int:pk>/disable/", people.person_disable, name="person_disable"),
    path("people/<int:pk>/enable/", people.person_enable, name="person_enable"),
    path("people/<int:pk>/link/", people.person_link, name="person_link"),
    path("people/<int:pk>/two-factor/", people.person_second_factor, name="person_second_factor"),
    path(
        "people/<int:pk>/single-sign-on/",
        people.person_single_sign_on,
        name="person_single_sign_on",
    ),
    path("people/<int:pk>/sessions/", people.person_sessions, name="person_sessions"),
    path("audit/", audit.audit_list, name="audit_list"),
    path("audit/verify/", audit.audit_verify, name="audit_verify"),
    path("audit/export/", audit.audit_export, name="audit_export"),
]
