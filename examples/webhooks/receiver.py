"""The called service, for trying out the breaker: `python webhooks/receiver.py [PORT]`.

PUT /out-of-order makes it fail, DELETE /out-of-order makes it work again, GET shows how often it was called.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Answers 200, or 503 after a PUT /out-of-order."""

    fails = False
    calls = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        type(self).calls += 1
        self._answer(503 if self.fails else 200)

    def do_PUT(self) -> None:
        type(self).fails = True
        self._answer(200)

    def do_DELETE(self) -> None:
        type(self).fails = False
        self._answer(200)

    def do_GET(self) -> None:
        self._answer(200)

    def _answer(self, status: int) -> None:
        body = json.dumps({"calls": self.calls, "out_of_order": self.fails}).encode()
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
