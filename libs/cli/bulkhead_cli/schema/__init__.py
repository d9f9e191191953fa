"""The documents of the database: made from a live one, and held against it."""
