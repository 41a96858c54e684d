"""What certs tells to whoever listens, so that it need not know them."""

from django.dispatch import Signal

# Sent after commit when a pair was issued or given up: `pair`.
pair_finished = Signal()
