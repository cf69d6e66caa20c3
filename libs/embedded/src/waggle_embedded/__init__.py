"""Waggle on one machine: embedded Postgres and NATS, child processes, their supervisor, and the stack that `waggle up` runs. Tests and benchmarks use it too.

    server = postgres.start(folder)        # ready when it returns; the data is kept in `folder`
    server.url, server.port, server.pid    # postgresql://waggle:…@127.0.0.1:PORT/waggle
    server.stop()                          # gracefully; `server.kill()` is kill -9
    server = postgres.start(folder, port=server.port)   # the same data on the same port

`nats.start(folder)` works alike. Start servers from the main thread: on Linux they end with the thread that started them.
As root, use `placement.temporary_folder()` for temporary data: Postgres runs as `nobody` and must reach it.
"""
