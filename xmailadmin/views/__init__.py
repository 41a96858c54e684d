"""Pages about people: the account, the team, sessions, the audit; and what errors look like."""

from xmailadmin.views.account import account

__all__ = ["account"]
