"""What the site bears: people reviewing at once, memory over time, and a million posts. `make load` runs it."""
