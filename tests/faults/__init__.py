"""Broken on purpose: real processes and real connections, killed while people work."""
