"""Every folder here is a service, every file is what services share."""
