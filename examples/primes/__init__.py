"""An example application: computation that would block the event loop."""
