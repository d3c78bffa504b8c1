"""What Argo's pods run: says which version answers. It ends at SIGTERM, before which the pod's preStop waits."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = json.dumps({"version": os.environ["VERSION"], "pod": os.environ["HOSTNAME"]}).encode()


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container has no default for it
Server(("", 8080), Page).serve_forever()
