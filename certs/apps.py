from django.apps import AppConfig


class CertsConfig(AppConfig):
    name = "certs"

    def ready(self) -> None:
        from certs import tasks  # noqa: F401  loading them registers them with Celery
