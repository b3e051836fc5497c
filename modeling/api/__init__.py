"""What programs ask, one file a subject."""
