#!/usr/bin/env python3
"""hop.py - a piece of network between two sites: forwards TCP connections, and is cut while a file exists.

usage: hop.py LISTEN_PORT TARGET_PORT CUT_FILE      on 127.0.0.1; ends with its parent"""
import os, select, socket, sys, time


def main():
    listen, target, cut_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", listen))
    server.listen(64)
    parent, other, waiting, cut = os.getppid(), {}, {}, False  # waiting: bytes that the other end does not take yet

    def drop(s):
        for x in (s, other.pop(s, None)):
            if x is not None:
                other.pop(x, None)
                waiting.pop(x, None)
                x.close()

    while os.getppid() == parent:
        if os.path.exists(cut_file) != cut:
            cut = not cut
            while cut and other:
                drop(next(iter(other)))
        readable = [server] + [s for s in other if not waiting.get(other[s])]
        ready, writable, _ = select.select(readable, [s for s in other if waiting.get(s)], [], 0.02)
        for s in writable:
            if s not in other:
                continue
            try:
                waiting[s] = waiting[s][s.send(waiting[s]):]
            except BlockingIOError:
                pass
            except OSError:
                drop(s)
        for s in ready:
            if s is server:
                a, _ = server.accept()
                try:
                    if cut:
                        raise OSError
                    b = socket.create_connection(("127.0.0.1", target), 1)
                except OSError:
                    a.close()
                    continue
                for x, y in ((a, b), (b, a)):
                    x.setblocking(False)
                    x.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    other[x] = y
            elif s in other:
                try:
                    data = s.recv(1 << 18)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    waiting[other[s]] = waiting.get(other[s], b"") + data
                else:
                    drop(s)


main()
