"""An example of a Waggle application: calls of a service that may be out of order."""
