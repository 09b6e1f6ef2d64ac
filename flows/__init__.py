"""What runs: thin flows, readable from top to bottom, and the command that starts them."""
