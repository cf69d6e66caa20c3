"""The service that is called, for trying the breaker out: `python webhooks/receiver.py [PORT]`. PUT /out-of-order breaks it, DELETE mends it, GET counts."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Answers 200, or 503 while it is out of order."""

    is_out_of_order = False
    calls = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        type(self).calls += 1
        self._answer(503 if self.is_out_of_order else 200)

    def do_PUT(self) -> None:
        type(self).is_out_of_order = True
        self._answer(200)

    def do_DELETE(self) -> None:
        type(self).is_out_of_order = False
        self._answer(200)

    def do_GET(self) -> None:
        self._answer(200)

    def _answer(self, status: int) -> None:
        body = json.dumps({"calls": self.calls, "out_of_order": self.is_out_of_order}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8499), Receiver)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
