"""Pairs: private keys with their certificates, and what mail clients make of them."""
