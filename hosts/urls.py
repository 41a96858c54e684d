"""Addresses of the hosts pages, and of the page that makes a pair and may install it."""

from django.urls import path

from hosts.views import (
    clients_setup,
    dashboard,
    deployments,
    diagnosis,
    enrolment,
    health,
    history,
    hosts,
    matrix,
    pairs,
    remedies,
)

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("guide/", diagnosis.guide, name="guide"),
    path("diagnosis/", diagnosis.diagnosis, name="diagnosis"),
    path("matrix/", matrix.matrix, name="matrix"),
    path("hosts/", hosts.host_list, name="host_list"),
    path("hosts/add/", enrolment.host_add, name="host_add"),
    path("hosts/check/", enrolment.host_mailroot_check, name="host_mailroot_check"),
    path("hosts/<int:pk>/", hosts.host_detail, name="host_detail"),
    path("hosts/<int:pk>/edit/", enrolment.host_edit, name="host_edit"),
    path("hosts/<int:pk>/identity/", enrolment.host_reenrol, name="host_reenrol"),
    path("hosts/<int:pk>/adopt/", remedies.host_adopt, name="host_adopt"),
    path("hosts/<int:pk>/reinstall/", remedies.host_reinstall, name="host_reinstall"),
    path("hosts/<int:pk>/mend/", remedies.host_mend, name="host_mend"),
    path("hosts/<int:pk>/mended/", remedies.host_mended, name="host_mended"),
    path("hosts/<int:pk>/delete/", hosts.host_delete, name="host_delete"),
    path("hosts/<int:pk>/disable/", hosts.host_disable, name="host_disable"),
    path("hosts/<int:pk>/diagnose/", hosts.host_diagnose, name="host_diagnose"),
    path("hosts/<int:pk>/rollback/", hosts.host_rollback, name="host_rollback"),
    path("pairs/new/", pairs.pair_new, name="pair_new"),
    path("pairs/<int:pk>/install/", deployments.deployment_new, name="deployment_new"),
    path("deployments/", deployments.deployment_list, name="deployment_list"),
    path("deployments/<int:pk>/", deployments.deployment_detail, name="deployment_detail"),
    path(
        "deployments/<int:pk>/progress/",
        deployments.deployment_progress,
        name="deployment_progress",
    ),
    path(
        "deployments/<int:pk>/rollback/",
        deployments.deployment_rollback,
        name="deployment_rollback",
    ),
    path("deployments/<int:pk>/cancel/", deployments.deployment_cancel, name="deployment_cancel"),
    path("clients/<slug:slug>/setup/", clients_setup.client_setup, name="client_setup"),
    path("history/", history.installation_list, name="installation_list"),
    path("history/<int:pk>/", history.installation_detail, name="installation_detail"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics_page, name="metrics"),
]
