"""Certificates for the tests, made anew for every run."""

import ssl

import trustme


class Authority:
    """A certificate authority with contexts for both ends."""

    def __init__(self):
        self.ca = trustme.CA()

    def server(self, **more):
        return self._context(ssl.PROTOCOL_TLS_SERVER, **more)

    def client(self, **more):
        return self._context(ssl.PROTOCOL_TLS_CLIENT, **more)

    def _context(self, protocol, shows=None, **more):
        """``shows``: another authority, whose certificate is shown instead of one of ours."""
        context = ssl.SSLContext(protocol)
        (shows or self).ca.issue_cert("127.0.0.1", **more).configure_cert(context)
        self.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context
