"""Planet's orders: payload, names, manifest, and their delivery."""
