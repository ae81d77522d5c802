"""What is on the sky, and one observation of it."""
