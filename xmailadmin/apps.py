from django.apps import AppConfig
from django.db.models.signals import post_migrate


class XmailadminConfig(AppConfig):
    name = "xmailadmin"

    def ready(self) -> None:
        from xmailadmin import (
            audit_guard,
            checks,  # noqa: F401 - registers itself
            roles,
            second_factor,
            sign_in_record,
            single_sign_on,
        )

        second_factor.harden()
        single_sign_on.harden()
        sign_in_record.connect()
        post_migrate.connect(roles.make_groups, sender=self)
        post_migrate.connect(audit_guard.guard, sender=self)
