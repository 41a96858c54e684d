from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "hosts"

    def ready(self) -> None:
        # Loading them registers them: tasks with Celery, receivers with certs' signals.
        from hosts import receivers, tasks  # noqa: F401
