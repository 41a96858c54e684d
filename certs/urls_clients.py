"""Addresses of the client notes; certs/urls.py includes them."""

from django.urls import path

from certs.views import clients, notes, reports

urlpatterns = [
    path("clients/", clients.client_list, name="client_list"),
    path("clients/changes/", notes.changes, name="note_changes"),
    path("clients/notes/new/", notes.note_new, name="note_new"),
    path("clients/notes/<int:pk>/", notes.note_detail, name="note_detail"),
    path("clients/notes/<int:pk>/edit/", notes.note_edit, name="note_edit"),
    path("clients/notes/<int:pk>/confirm/", notes.note_confirm, name="note_confirm"),
    path("clients/notes/<int:pk>/remove/", notes.note_remove, name="note_remove"),
    path("clients/reports/", reports.report_list, name="report_list"),
    path("clients/reports/new/", reports.report_new, name="report_new"),
    path("clients/reports/<int:pk>/accept/", reports.report_accept, name="report_accept"),
    path("clients/reports/<int:pk>/dismiss/", reports.report_dismiss, name="report_dismiss"),
    path("clients/<slug:slug>/", clients.client_detail, name="client_detail"),
    path("clients/<slug:slug>/confirm/", notes.client_confirm, name="client_confirm"),
]
