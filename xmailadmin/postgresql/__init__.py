"""How the portal talks to PostgreSQL: through a small pool, and never waiting without end."""
