"""What pages ask, one file a subject."""
