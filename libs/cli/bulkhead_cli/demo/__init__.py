"""The story of `make demo`: two companies, a real import, an audit question, and a company that must not see it."""
