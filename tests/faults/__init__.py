"""Faults injected into real processes, connections and disks; `make faults` runs all of them."""
