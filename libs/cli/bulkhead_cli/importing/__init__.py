"""Reading other trackers' archives and sending them to the issues service."""
