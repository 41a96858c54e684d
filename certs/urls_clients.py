"""Addresses of the client notes; certs/urls.py includes them."""

from django.urls import path

from certs.views import clients, notes, reports

urlpatterns = [
    path("clients/", clients.client_list, name="client_list"),
    path("clients/changes/", notes.changes, name="client_note_changes"),
    path("clients/notes/new/", notes.note_new, name="client_note_new"),
    path("clients/notes/<int:pk>/", notes.note_detail, name="client_note_detail"),
    path("clients/notes/<int:pk>/edit/", notes.note_edit, name="client_note_edit"),
    path("clients/notes/<int:pk>/confirm/", notes.note_confirm, name="client_note_confirm"),
    path("clients/notes/<int:pk>/remove/", notes.note_remove, name="client_note_remove"),
    path("clients/reports/", reports.report_list, name="client_report_list"),
    path("clients/reports/new/", reports.report_new, name="client_report_new"),
    path("clients/reports/<int:pk>/accept/", reports.report_accept, name="client_report_accept"),
    path("clients/reports/<int:pk>/dismiss/", reports.report_dismiss, name="client_report_dismiss"),
    path("clients/<slug:slug>/", clients.client_detail, name="client_detail"),
    path("clients/<slug:slug>/confirm/", notes.client_confirm, name="client_confirm"),
]
