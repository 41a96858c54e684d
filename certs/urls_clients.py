"""Addresses of the client notes; certs/urls.py includes them."""

from django.urls import path

from certs.views import clients

urlpatterns = [
    path("clients/", clients.client_list, name="client_list"),
    path("clients/<slug:slug>/", clients.client_detail, name="client_detail"),
]
