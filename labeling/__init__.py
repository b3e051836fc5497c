"""Machines that vote."""
