"""Machines that learn."""
