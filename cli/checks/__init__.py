"""The commands that tell whether something holds, and exit with 1 where it does not."""
