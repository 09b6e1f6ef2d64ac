"""Alyx over REST: who asks, how often, and what is taken for an answer."""
