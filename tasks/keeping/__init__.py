"""Keeping a tree: mirrored, scrubbed, adopted; routes probed, shards followed."""
