"""An example application: a shop that does its slow work in the background."""
