"""Rate limits: how often an address, a principal and a tenant may call."""
