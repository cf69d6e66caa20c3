"""An example application: calls to a service that may fail."""
