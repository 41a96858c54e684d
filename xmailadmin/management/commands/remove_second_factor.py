"""Takes away the second factor of a person who lost it, where no administrator can."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from xmailadmin import people
from xmailadmin.commands import PortalCommand
from xmailadmin.models import User


class Command(PortalCommand):
    help = (
        "Remove the second factor of a person who lost it. The password alone opens the account "
        "then, so be sure who asks for it. Every session of the person ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name with which the person signs in")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        name = options["name"]
        person = User.objects.filter(username=name).first()
        if person is None:
            raise CommandError(f"Nobody is called {name}.")
        held = people.factors_of(person).values_list("pk", flat=True)
        if not people.remove_second_factor(None, person, list(held)):
            raise CommandError(f"{name} has no second factor.")
        self.say(f"The second factor of {name} is removed, and every session has ended.")
        return {"name": name}, False
