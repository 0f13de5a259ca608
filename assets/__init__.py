"""What `web/static` holds that others made: `make vendor` and `make basemap` fetch and write it again."""
