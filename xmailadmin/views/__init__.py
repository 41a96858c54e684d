"""Pages about people: the account, the team, sessions, the audit; and what errors look like."""
