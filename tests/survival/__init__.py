"""Kills, full disks, second writers and changed inputs: the same command ends as if nothing had happened."""
