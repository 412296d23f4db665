#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Serves one file over https, under any path, and writes down which paths were asked for.

    https-server.py ADDRESS PORT CERTIFICATE KEY FILE REQUESTS
"""

import http.server
import re
import ssl
import sys

address, port, certificate, key, name, requests = sys.argv[1:]
with open(name, "rb") as file:
    content = file.read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        with open(requests, "a") as file:
            print(self.path, file=file)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        last = int(wanted[2]) if wanted and wanted[2] else len(content) - 1
        part = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            self.wfile.write(part)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
open(requests, "w").close()
server.serve_forever()
