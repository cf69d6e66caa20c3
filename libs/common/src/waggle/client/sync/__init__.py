"""Made from `waggle.client.aio` by `just sync-client`; change it there."""
