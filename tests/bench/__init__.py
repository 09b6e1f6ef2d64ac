"""The benchmark: our engine against curl, rclone, aria2, ONE and boto3, on loopback. `make bench` runs it."""
