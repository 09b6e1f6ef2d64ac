"""What a plan is made of, and how it lies on disk."""
