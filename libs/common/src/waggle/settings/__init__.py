"""The settings of every service: what they are, where they come from, and how a process reads them."""
