"""The client, as coroutines. `waggle.client.sync` is made from it: `just sync-client`."""
