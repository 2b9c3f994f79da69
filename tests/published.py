"""Published files on a server of our own, for the tests of what downloads them."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np

from landscape.data.publications import PUBLICATIONS

MUTAG = {
    "A": "1, 2\n2, 1\n2, 3\n3, 2\n3, 1\n1, 3\n4, 5\n5, 4\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "0\n1\n2\n1\n1\n0\n",
}
"""Three graphs: a triangle, an edge, a node on its own."""


class Server:
    """Files by path, in memory.

    Attributes:
        files: Path -> content; what is not there is answered by 404.
        headers: Added to every answer.
        kept_back: Bytes at the end of each file that are announced and not sent.
        asked: Paths in the order that they were asked for.
    """

    def __init__(self, address):
        self.address = address
        self.files = {}
        self.headers = {}
        self.kept_back = 0
        self.asked = []


@contextmanager
def serving():
    """Run a server in a thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            if self.path not in server.files:
                self.send_error(404)
                return
            content = server.files[self.path]
            self.send_response(200)
            for name, value in {"Content-Length": str(len(content)), **server.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) - server.kept_back])

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://127.0.0.1:{http.server_address[1]}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def idx(array):
    """The gzipped idx file of an array of uint8."""
    return gzip.compress(
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    )


def publish_fashion_mnist(server):
    """Put a tiny Fashion-MNIST on the server and return its description."""
    publication = PUBLICATIONS["fashion-mnist"]
    shapes = [(5, 28, 28), (5,), (3, 28, 28), (3,)]
    for number, (file, shape) in enumerate(zip(publication.files, shapes, strict=True)):
        array = np.random.default_rng(number).integers(0, 10, shape, dtype=np.uint8)
        server.files[f"/{file.name}"] = idx(array)
    files = tuple(
        replace(
            file,
            address=f"{server.address}/{file.name}",
            md5=hashlib.md5(server.files[f"/{file.name}"]).hexdigest(),
        )
        for file in publication.files
    )
    return replace(publication, files=files)


def zip_of(folder, texts):
    """A .zip archive of a folder of text files."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"{folder}/{name}", text)
    return buffer.getvalue()


def publish_mutag(server):
    """Put a MUTAG of three graphs on the server and return its description."""
    texts = {f"MUTAG_{part}.txt": text for part, text in MUTAG.items()}
    server.files["/MUTAG.zip"] = zip_of("MUTAG", texts)
    (file,) = PUBLICATIONS["mutag"].files
    lines = {name: text.count("\n") for name, text in texts.items()}
    file = replace(file, address=f"{server.address}/MUTAG.zip", member_lines=lines)
    return replace(PUBLICATIONS["mutag"], files=(file,))
