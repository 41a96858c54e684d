from django.apps import AppConfig


class XmailadminConfig(AppConfig):
    name = "xmailadmin"
