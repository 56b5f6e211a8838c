"""Encryption and passwords at a node's Postgres port: tls.py PORT USER PASSWORD CA OTHER-CERT OTHER-KEY. The other certificate is one
that the node does not have, for whoever sits in between."""

import select
import socket
import ssl
import struct
import sys
import threading

import psycopg

from checks import raises, run, same

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Node:
    def __init__(self, port, user, password, ca, other_cert, other_key):
        self.port, self.user, self.password, self.ca = int(port), user, password, ca
        self.other = (other_cert, other_key)

    def connect(self, **more):
        options = {"host": "localhost", "port": self.port, "user": self.user, "password": self.password, "dbname": "kanon"}
        return psycopg.connect(**{**options, **more})


def encrypted(connection):
    return connection.pgconn.ssl_in_use


def check_modes(node):
    for options in ({"sslmode": "require"}, {"sslmode": "verify-ca", "sslrootcert": node.ca},
                    {"sslmode": "verify-full", "sslrootcert": node.ca}, {"sslmode": "prefer"}):
        with node.connect(**options) as c:
            assert encrypted(c), options
            same(c.execute("SELECT 1").fetchone(), (1,))
    # On loopback, a node that does not require it also takes clients without.
    with node.connect(sslmode="disable") as c:
        assert not encrypted(c)


def check_another_s_certificate_is_not_verified(node):
    error = raises(psycopg.OperationalError, lambda: node.connect(sslmode="verify-ca", sslrootcert=node.other[0]))
    assert "certificate verify failed" in str(error), error


def check_channel_binding(node):
    with node.connect(sslmode="require", channel_binding="require") as c:
        same(c.execute("SELECT 1").fetchone(), (1,))
    with node.connect(sslmode="require", channel_binding="disable") as c:
        same(c.execute("SELECT 1").fetchone(), (1,))
    error = raises(psycopg.OperationalError, lambda: node.connect(sslmode="disable", channel_binding="require"))
    assert "channel binding" in str(error), error
    error = raises(psycopg.OperationalError,
                   lambda: node.connect(sslmode="require", channel_binding="require", password="wrong"))
    assert "password authentication failed" in str(error), error


def check_nobody_in_between(node):
    """A client that binds the channel does not log in through somebody who decrypts; one that does not bind it does."""
    with Between(node) as port:
        with node.connect(port=port, sslmode="require", channel_binding="disable") as c:
            same(c.execute("SELECT 1").fetchone(), (1,))
        error = raises(psycopg.OperationalError,
                       lambda: node.connect(port=port, sslmode="require", channel_binding="require"))
        assert "FATAL" in str(error), error


class Between:
    """Takes clients with the other certificate, and passes on what they say to the node over TLS of its own."""

    def __init__(self, node):
        self.node = node
        self.listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        same(client.recv(8), SSL_REQUEST)
        client.sendall(b"S")
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_side.load_cert_chain(*self.node.other)
        client = server_side.wrap_socket(client, server_side=True)
        server = socket.create_connection(("127.0.0.1", self.node.port))
        server.sendall(SSL_REQUEST)
        same(server.recv(1), b"S")
        client_side = ssl.create_default_context(cafile=self.node.ca)
        server = client_side.wrap_socket(server, server_hostname="localhost")
        self.pump(client, server)

    @staticmethod
    def pump(client, server):
        """One thread: an encrypted socket cannot be read and written at the same time."""
        other = {client: server, server: client}
        for end in other:
            end.setblocking(False)
        while True:
            for end in [end for end in other if end.pending()] or select.select(list(other), [], [])[0]:
                try:
                    data = end.recv(65536)
                except ssl.SSLWantReadError:
                    continue  # Something of the protocol's own, such as a session ticket.
                except OSError:
                    data = b""
                if not data:
                    client.close()
                    server.close()
                    return
                other[end].sendall(data)


def check_bytes_that_are_no_handshake(node):
    # TLS without asking first, as PostgreSQL 17 takes it: refused, and the node goes on.
    direct = ssl.create_default_context(cafile=node.ca)
    raises((ssl.SSLError, ConnectionError), lambda: direct.wrap_socket(
        socket.create_connection(("127.0.0.1", node.port)), server_hostname="localhost"))
    for garbage in (b"\0" * 64, b"\x16\x03\x01\xff\xff" + b"x" * 4096, b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as s:
            s.sendall(SSL_REQUEST)
            same(s.recv(1), b"S")
            s.sendall(garbage)
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
    # A message that came before the handshake is not taken for the client's.
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as s:
        s.sendall(SSL_REQUEST + b"\0\0\0\x08\0\x03\0\0")
        answer = b""
        while more := s.recv(4096):
            answer += more
        assert b"received unencrypted data after SSL request" in answer, answer
    with node.connect(sslmode="require") as c:
        same(c.execute("SELECT 1").fetchone(), (1,))


if __name__ == "__main__":
    run(sys.modules[__name__], Node(*sys.argv[1:]))
