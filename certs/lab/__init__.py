"""Tries the mail clients of this machine against a TLS mail endpoint with a chosen certificate."""
