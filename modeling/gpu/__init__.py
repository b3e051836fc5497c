"""What runs beside the card: neither Django nor our tables, so that the same folder runs on a rented machine."""
