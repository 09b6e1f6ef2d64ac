"""Configuration, and what a site runs."""
