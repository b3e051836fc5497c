"""What is known of posts, frozen: chosen, split, copied, sealed, read."""
