"""What other sites in the same browser, other programs and broken clients may try against `bareattn serve`: each is
refused before anything is routed, nothing of the client's is ever a path, and the server still answers afterwards."""
import socket
import threading
import time

import pytest

from serving import serving
from test_cli import TOM, run


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    text = folder / "text.txt"
    text.write_text(TOM.read_text()[:2600])
    path = folder / "run.safetensors"
    done = run("trace", text, "-o", path, "--title", "</script><b>title")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(autouse=True)
def still_there(server):
    yield
    assert server.ask("/api/status").status == 200


# --- where it listens, and under which names ----------------------------------------------------------------------------


def test_it_listens_on_the_loopback_address_alone(server):
    # The kernel's own list: every listening socket of that port is 127.0.0.1.
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert [a for a in listening if a.endswith(f":{server.port:04X}")] == [f"0100007F:{server.port:04X}"]
    with open("/proc/net/tcp6") as table:
        assert not any(f":{server.port:04X} " in line and " 0A " in line for line in table)


@pytest.mark.parametrize("host", [
    "evil.com", "evil.com:{port}", "", "127.0.0.1", "localhost", "127.0.0.1:1", "127.0.0.1:{port}.", "localhost.:{port}",
    "LOCALHOST:{port}", "Localhost:{port}", "0.0.0.0:{port}", "127.0.0.2:{port}", "127.1:{port}", "2130706433:{port}",
    "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "localhost:{port}, evil.com", "localhost:{port}@evil.com",
    "user@localhost:{port}", "localhost:0{port}", "localhost:{port} evil.com", "127.0.0.1:{port}/"])
@pytest.mark.parametrize("target", ["/", "/api/text", "/api/tile/0/0/0/0/0", "/nothing"])
def test_another_host_is_refused_everywhere(server, host, target):
    reply = server.ask(target, host=host.format(port=server.port))
    assert reply.status == 403 and b"Host" in reply.body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_its_own_names_are_taken(server, host):
    assert server.ask("/api/status", host=host.format(port=server.port)).status == 200


def test_two_hosts_none_and_absolute_addresses(server):
    line = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n"
    assert server.raw(f"{line}Host: evil.com\r\n\r\n".encode()).status == 403
    assert server.raw(f"{line}Host: {server.host}\r\n\r\n".encode()).status == 403
    assert server.raw(b"GET / HTTP/1.1\r\n\r\n").status == 403
    for target in (f"http://{server.host}/api/text", "http://evil.com/", f"//{server.host}/", "*", "evil.com:80", "?x", "api/text"):
        assert server.ask(target).status in (400, 404), target
    assert server.ask("http://evil.com/", host="evil.com").status == 403


# --- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "http://127.0.0.1", "https://127.0.0.1:{port}", "file://", "",
                                    "http://127.0.0.1:{port}.evil.com", "http://LOCALHOST:{port}"])
@pytest.mark.parametrize("method, target", [("GET", "/api/text"), ("POST", "/api/run"), ("POST", "/api/leave"), ("DELETE", "/api/run")])
def test_another_origin_is_refused(server, origin, method, target):
    reply = server.ask(target, method, headers=[("Origin", origin.format(port=server.port))])
    assert reply.status == 403 and "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_what_the_browser_calls_another_site_is_refused(server, site):
    for method, target in (("GET", "/api/text"), ("POST", "/api/run"), ("GET", "/")):
        assert server.ask(target, method, headers=[("Sec-Fetch-Site", site)]).status == 403
    # Following a link is no attack: the shell holds no data. In a frame it is one.
    assert server.ask("/", token=False, headers=[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"),
                                                 ("Sec-Fetch-Dest", "document")]).status == 200
    assert server.ask("/", token=False, headers=[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"),
                                                 ("Sec-Fetch-Dest", "iframe")]).status == 403


def test_no_answer_ever_allows_another_origin(server):
    for target in ("/", "/api/text", "/api/tile/0/0/0/0/0", "/nothing", "/api/run"):
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            reply = server.ask(target, method, headers=[("Access-Control-Request-Method", "POST")])
            assert not any(name.lower().startswith("access-control") for name, _ in reply.fields), (method, target)


def test_a_get_changes_nothing(server):
    before = server.status()["run"]
    for target in ("/api/leave", "/api/run", "/api/run?text=x", "/api/run?cancel=1"):
        assert server.ask(target).status in (200, 400, 404, 405)
    assert server.status()["run"] == before and server.ask("/api/leave").status == 405


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"])
def test_other_methods_are_refused(server, method):
    assert server.ask("/api/text", method).status in (400, 405)


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/text", "/api/status", "/api/tile/0/0/0/0/0", "/api/row/0/0/0", "/api/run", "/api/nothing"])
def test_without_the_token_there_is_nothing(server, target):
    wrong = server.token[:-1] + ("0" if server.token[-1] != "0" else "1")
    for token in (False, wrong, server.token[:-1], server.token + "0", server.token.upper() + "x", " ", "\x80"):
        reply = server.ask(target, token=token)
        assert reply.status == 401 and server.token.encode() not in reply.raw
    assert server.ask(f"{target}?token={server.token}", token=False).status == 401
    assert server.ask(target, token=False, headers=[("Cookie", f"token={server.token}")]).status == 401
    double = [("Authorization", f"Bearer {server.token}")] * 2
    assert server.ask(target, token=False, headers=double).status == 400
    assert server.ask(target, token=False, headers=[("Authorization", server.token)]).status == 401


def test_the_token_is_new_each_time_and_in_no_answer(server, trace):
    assert len(server.token) == 32 and int(server.token, 16) >= 0
    assert server.url.endswith(f"/#token={server.token}")
    with serving(trace) as other:
        assert other.token != server.token and other.port != server.port  # two viewers side by side
        assert other.ask("/api/text", token=server.token).status == 401
    for target in ("/", "/api/text", "/api/status", "/nothing"):
        assert server.token.encode() not in server.ask(target).raw


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [
    "/../../etc/passwd", "/api/../../../etc/passwd", "/api/section/../../x", "/api/section/pool/../rows/0.0", "/..", "/.",
    "/%2e%2e/etc/passwd", "/api/section/%2e%2e", "/api/%252e%252e/x", "/%00", "/api/text%00", "//etc/passwd", "///", "/api//text",
    "/api/text/", "/api\\text", "/..\\..\\windows", "/api/section/pool/0.0%2f..", "/api/section/etc/passwd",
    "/file:///etc/passwd", "/~root", "/.git/config", "/page.js", "/favicon.ico", "/proc/self/environ", "/api", "/api/",
    "/api/text;x", "/api/text#x", "/api/row/0/0/0\t", "/\x7f", "/api/row/0/0/\xff"])
def test_no_path_of_the_client_leads_anywhere(server, target):
    reply = server.ask(target)
    assert reply.status in (400, 404), (target, reply.raw[:200])
    assert b"root:" not in reply.raw


@pytest.mark.parametrize("target", [
    "/api/row/30/0/0", "/api/row/0/9/0", "/api/row/-1/0/0", "/api/row/0/0/-1", "/api/row/0/0/99999", "/api/row/00/0/0",
    "/api/row/0/0/+1", "/api/row/0/0/1.5", "/api/row/0/0/1e1", "/api/row/0/0/99999999999999999999", "/api/row/0/0",
    "/api/tile/0/0/0/0", "/api/tile/0/0/99/0/0", "/api/tile/0/0/0/99/0", "/api/tile/0/0/0/0/9223372036854775807",
    "/api/tile/0/0/0/0/0?pool=mean", "/api/tile/0/0/0/0/0?pool=sum&pool=max", "/api/tile/0/0/0/0/0?x=1", "/api/tile/0/0/0/0/0?pool",
    "/api/row/0/0/0?value=carried", "/api/row/0/0/0?value=", "/api/row/0/0/0?value=raw&value=raw", "/api/row/0/0/0?norm=key",
    "/api/row/0/0/0?top=0", "/api/row/0/0/0?top=-1", "/api/row/0/0/0?top=1001", "/api/row/0/0/0?top=", "/api/text?q=1", "/?x=1",
    "/api/tileset/0", "/api/tileset/0/99", "/api/section/q/0.0", "/api/section/pool/0", "/api/section/pool/0.0.0", "/api/section/thumbs/0.0"])
def test_what_is_out_of_range_is_refused(server, target):
    assert server.ask(target).status in (400, 404)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", "/api/text", "/api/tile/0/0/0/0/0", "/api/row/0/0/3?top=2", "/nothing", "/api/run"])
@pytest.mark.parametrize("token", [True, False])
def test_every_answer_is_fenced_in(server, target, token):
    reply = server.ask(target, token=token)
    h = reply.headers
    assert h["x-content-type-options"] == "nosniff" and h["referrer-policy"] == "no-referrer"
    assert h["cross-origin-opener-policy"] == "same-origin" and h["cross-origin-resource-policy"] == "same-origin"
    assert h["cache-control"] == "no-store" and h["connection"] == "close" and h["x-frame-options"] == "DENY"
    policy = h["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert "server" not in h and "set-cookie" not in h and "content-encoding" not in h and "accept-ranges" not in h
    assert len(reply.fields) == len(h) and int(h["content-length"]) == len(reply.body)


def test_the_shell_names_its_script_and_style_by_hash_and_holds_no_data(server):
    import base64
    import hashlib
    import re
    reply = server.ask("/", token=False)
    html = reply.body.decode()
    policy = reply.headers["content-security-policy"]
    for part in ("base-uri 'none'", "form-action 'none'", "connect-src 'self'", "require-trusted-types-for 'script'"):
        assert part in policy
    script = re.search(r"<script>(.*?)</script>", html, re.S)[1]
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    for kind, code in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "Tom" not in html and "</script><b>" not in html
    assert re.findall(r"(?:src|href)=\S+", html.replace(script, "").replace(style, "")) == ['href="data:,">']  # no icon


def test_text_in_json_cannot_leave_it(server):
    text = server.ask("/api/text")
    assert text.headers["content-type"] == "application/json" and text.body.isascii()
    assert text.json()["title"] == "</script><b>title"
    reply = server.ask("/api/%3Cscript%3E<script>alert(1)</script>")
    assert reply.status == 400 and b"<script>" not in reply.body


@pytest.mark.parametrize("split", ["\r\nX-Evil: 1", "%0d%0aX-Evil:1", "\nSet-Cookie: a=b", "\r\n\r\n<html>"])
def test_no_answer_can_be_split(server, split):
    reply = server.raw(f"GET /api/x{split} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    assert "x-evil" not in reply.headers and "set-cookie" not in reply.headers and b"<html>" not in reply.raw
    assert reply.status is None or reply.status in (400, 404)


def test_neither_ranges_nor_compression(server):
    reply = server.ask("/api/text", headers=[("Range", "bytes=0-3"), ("Accept-Encoding", "gzip, br")])
    assert reply.status == 200 and reply.json()["schema_version"] >= 1


# --- size, time, number -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_bytes, statuses", [
    (lambda s: f"GET /{'a' * 9000} HTTP/1.1\r\nHost: {s.host}\r\n\r\n", (431, 400)),
    (lambda s: f"GET / HTTP/1.1\r\nHost: {s.host}\r\nX: {'a' * 9000}\r\n\r\n", (431,)),
    (lambda s: f"GET / HTTP/1.1\r\nHost: {s.host}\r\n" + "".join(f"X{i}: 1\r\n" for i in range(70)) + "\r\n", (431,)),
    (lambda s: f"GET / HTTP/1.1\r\nHost: {s.host}\r\n" + "A: 1\r\n" * 100000 + "\r\n", (431,)),
    (lambda s: f"POST /api/run HTTP/1.1\r\nHost: {s.host}\r\nContent-Length: 1048577\r\n\r\n" + "a" * 1048577, (413,)),
    (lambda s: f"POST /api/run HTTP/1.1\r\nHost: {s.host}\r\nContent-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    (lambda s: f"POST /api/run HTTP/1.1\r\nHost: {s.host}\r\nContent-Length: -1\r\n\r\n", (400,)),
    (lambda s: "a" * 100000, (400, 431)),
    # A token of ten million bytes, wherever one may stand.
    (lambda s: f"GET /api/text HTTP/1.1\r\nHost: {s.host}\r\nAuthorization: Bearer {'0' * 10_000_000}\r\n\r\n", (431,)),
    (lambda s: f"GET /api/text?v={'0' * 10_000_000} HTTP/1.1\r\nHost: {s.host}\r\n\r\n", (431, 400)),
    (lambda s: f"POST /api/run HTTP/1.1\r\nHost: {s.host}\r\nContent-Type: application/json\r\nContent-Length: 10000011\r\n\r\n"
               '{"text":"' + "a" * 10_000_000 + '"}', (413,)),
    (lambda s: f"{'G' * 10_000_000} / HTTP/1.1\r\nHost: {s.host}\r\n\r\n", (400, 431)),
    (lambda s: "\x00" * 1000, (400,)),
    (lambda s: f"GET / HTTP/1.0\r\nHost: {s.host}\r\n\r\n", (505,)),
    (lambda s: f"GET / HTTP/2.0\r\nHost: {s.host}\r\n\r\n", (400, 505)),
    (lambda s: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    (lambda s: f"GET /\r\nHost: {s.host}\r\n\r\n", (400,)),
    (lambda s: f"GET / HTTP/1.1\r\nHost : {s.host}\r\n\r\n", (400, 403)),
    (lambda s: f"GET / HTTP/1.1\r\nHost: {s.host}\r\nX: a\r\n b\r\n\r\n", (200, 400)),
])
def test_too_much_and_malformed(server, request_bytes, statuses):
    reply = server.raw(request_bytes(server).encode("latin-1"))
    assert reply.status in statuses, reply.raw[:300]


def test_no_chunks_and_no_second_request(server):
    start = f"POST /api/leave HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n"
    chunked = f"{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert server.raw(chunked.encode()).status == 400
    both = f"{start}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /"
    assert server.raw(both.encode()).status == 400
    assert server.raw(f"{start}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab".encode()).status == 400
    assert server.raw(f"{start}Transfer-Encoding: xchunked\r\nContent-Length: 1\r\n\r\na".encode()).status == 400
    assert server.raw(f"{start}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n".encode()).status == 400
    # A second request behind the first is not read: one answer, then the connection ends.
    one = f"GET /api/status HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\nConnection: keep-alive\r\n\r\n"
    assert server.raw((one + one).encode()).raw.count(b"HTTP/1.1 ") == 1
    assert server.ask("/api/status", body=b"abc").status == 400  # a GET with a body


def test_dripping_clients_are_closed_and_do_not_keep_others_out(trace):
    with serving(trace) as server:
        start = time.monotonic()
        slow = [server.connect(timeout=30) for _ in range(100)]
        for s in slow:
            s.sendall(b"GET / HTTP/1.1\r\n")
        # Past the 64 that may wait, the oldest made room; a good client gets its answer among them.
        assert server.ask("/api/status").json()["connections"] <= 65
        closed = sum(peek_closed(s) for s in slow)
        assert closed >= 36
        # A byte now and then does not help: ten seconds are for the whole request.
        drip = server.connect(timeout=30)
        drip.sendall(b"GET / HTTP/1.1\r\nX: ")
        alive = True
        while alive and time.monotonic() - start < 25:
            time.sleep(0.5)
            try:
                drip.sendall(b"a")
            except OSError:
                alive = False
            alive = alive and not peek_closed(drip)
        assert not alive
        assert server.status()["connections"] == 1
        for s in [*slow, drip]:
            s.close()


def peek_closed(s):
    s.setblocking(False)
    try:
        return s.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        s.setblocking(True)


def test_clients_that_leave_in_the_middle(server):
    line = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    for target in ("/api/text", "/api/tile/1/1/3/0/0", "/api/row/2/2/500", "/"):
        for _ in range(20):
            s = server.connect()
            s.sendall(f"GET {target} HTTP/1.1\r\n{line}".encode())
            s.close()
        s = server.connect()
        s.sendall(f"GET {target} HTTP/1.1\r\n{line}".encode())
        s.recv(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        s.close()  # reset
    deadline = time.monotonic() + 15
    while server.status()["connections"] > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.status()["connections"] == 1


def test_many_at_once(server):
    replies = []

    def ask(i):
        replies.append(server.ask(f"/api/tile/{i % 30}/{i % 9}/0/{i % 2}/1").status)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(200)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert replies == [200] * 200


# --- who makes room -----------------------------------------------------------------------------------------------------


def shell_without_reading(server):
    """Asks for the page, which needs no token, and takes nothing of it but the first bytes."""
    s = server.connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.sendall(f"GET / HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    return s


def refused_and_kept_open(server):
    """Gets its 401 and stays."""
    s = server.connect()
    s.sendall(f"GET /api/text HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    return s


@pytest.mark.parametrize("idle", [lambda server: server.connect(), shell_without_reading, refused_and_kept_open])
@pytest.mark.parametrize("descriptors", [None, 40])
def test_the_owner_gets_in_whoever_else_is_there(trace, idle, descriptors):
    # More than there may be of them; with 40 descriptors more than can be opened at all.
    with serving(trace, descriptors=descriptors) as server:
        others = []
        for _ in range(12):
            others += [idle(server) for _ in range(60)]
            assert server.ask("/api/status").status == 200
            assert server.ask("/api/row/0/0/5").status == 200
        assert server.ask("/").status == 200
        for s in others:
            s.close()


def test_with_few_descriptors_a_text_still_runs(trace):
    with serving(trace, model=True, descriptors=48) as server:
        others = [server.connect() for _ in range(100)]
        assert server.run({"text": "The cat sat on the mat."}).status == 202
        assert server.wait_for("done", "failed")["state"] == "done"
        for s in others:
            s.close()


def test_bytes_behind_a_request_do_not_hide_that_the_client_has_gone(server):
    line = f"GET /api/section/agreement/3 HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    for _ in range(20):
        s = server.connect()
        s.sendall(line.encode() + b"more")
        s.sendall(b"and more")
        s.close()
    deadline = time.monotonic() + 15
    while server.status()["connections"] > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.status()["connections"] == 1
