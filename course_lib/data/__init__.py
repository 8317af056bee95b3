"""Toy worlds that need no network: small enough to see whole, real enough to go wrong."""
