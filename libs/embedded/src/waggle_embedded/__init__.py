"""The embedded servers: Postgres and NATS as child processes, for `waggle up` and for the tests.

    server = postgres.start(folder)        # ready when it returns; the data is kept in `folder`
    server.url, server.port, server.pid    # postgresql://waggle:…@127.0.0.1:PORT/waggle
    server.stop()                          # gracefully; `server.kill()` is kill -9
    server = postgres.start(folder, port=server.port)   # the same data on the same port

`nats.start(folder)` is alike. Start them from the main thread: they end when the thread that started them ends.
As root use `placement.temporary_folder()` for data that is thrown away, because Postgres runs as `nobody` and must reach it.
"""
