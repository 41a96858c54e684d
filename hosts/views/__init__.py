"""Pages of the inventory, of deployments, of the history and of the diagnosis."""
