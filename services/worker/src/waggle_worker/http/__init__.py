"""The built-in type `http.request`, and which addresses it may call."""
