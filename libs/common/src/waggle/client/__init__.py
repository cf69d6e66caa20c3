"""Tasks from code: submit them, wait for their results, look after them. `Client` is asynchronous; `SyncClient` has the same methods without `await`."""
