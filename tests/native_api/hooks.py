"""What the checks need to know: how tars are sent, and that nothing is asked for that has no end."""

import schemathesis


@schemathesis.serializer("application/x-tar")
def tar(ctx, value):
    """Bytes as they are: most are no tar, which must be refused like any other."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def map_query(ctx, query):
    """Streams that go on are tried by the Rust tests."""
    if isinstance(query, dict):
        for endless in ("follow", "stream"):
            if endless in query:
                query[endless] = "false"
    return query
