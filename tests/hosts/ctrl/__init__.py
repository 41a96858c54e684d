"""CTRL: how the portal speaks it, and what is left on the host when that breaks."""
