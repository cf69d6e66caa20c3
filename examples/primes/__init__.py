"""An example application: computation, which would stop everything else on the event loop or in a thread."""
