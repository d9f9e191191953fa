"""What every service's schema stands on: the roles and the schema app."""
