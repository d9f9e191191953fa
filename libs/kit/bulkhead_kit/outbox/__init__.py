"""Delivery of what services record in their outboxes to audit. `process.run_relay(settings)` is the whole process."""
