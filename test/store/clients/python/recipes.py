"""python-etcd3 (gRPC in C) at a server: writes what each call gave, one line each.

Numbers that a server chooses (revisions, leases) are written relative to the first one, or not at all, so that two
servers can be compared by their output. `recipes.py PORT [USER PASSWORD CA]`: CA is a file with the authority of the
server's certificate; this client sends what a login gave it over TLS only.
"""

import io
import sys
import threading

import etcd3
import grpc
from etcd3 import exceptions

WAIT_S = 20
PORT, *LOGIN = sys.argv[1:]


def connect(**login):
    return etcd3.client(host="127.0.0.1", port=int(PORT), timeout=WAIT_S, **login)


def say(what, *answers):
    print(what, *answers, sep=" | ")


def error_of(call):
    """The name of the client's error, or gRPC's code and text where the client lets them through."""
    try:
        call()
        return "no error"
    except exceptions.Etcd3Exception as error:
        return type(error).__name__
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


class Revisions:
    """Writes revisions as steps from the one that was current at the start."""

    def __init__(self, client):
        self.start = client.get_response("nothing").header.revision

    def step(self, revision):
        return f"+{revision - self.start}"


def keys(client, revisions):
    first = client.put("keys/a", "1")
    say("put", revisions.step(first.header.revision))
    second = client.put("keys/a", "2", prev_kv=True)
    say("put with prev_kv", second.prev_kv.value, second.prev_kv.version)
    value, meta = client.get("keys/a")
    say("get", value, meta.key, meta.version, revisions.step(meta.create_revision), revisions.step(meta.mod_revision))
    say("get serializable", client.get("keys/a", serializable=True)[0])
    say("get of nothing", client.get("keys/none"))
    for name in ("c", "b", "d"):
        client.put(f"keys/{name}", name * 3)
    client.put(b"keys/\x00\xff", b"\x00\xff")
    client.put("keys/empty", "")
    for order in (None, "ascend", "descend"):
        for target in ("key", "version", "create", "mod"):
            listed = [meta.key for _, meta in client.get_prefix("keys/", sort_order=order, sort_target=target)]
            say("prefix", order, target, listed)
    say("keys only", [value for value, _ in client.get_prefix("keys/", keys_only=True)])
    say("range", [value for value, _ in client.get_range("keys/b", "keys/d")])
    say("all", client.get_all_response().count)
    say("put if there is none", client.put_if_not_exists("keys/a", "9"), client.put_if_not_exists("keys/new", "9"))
    say("replace", client.replace("keys/a", "1", "3"), client.replace("keys/a", "2", "3"), client.get("keys/a")[0])
    deleted = client.delete("keys/b", prev_kv=True, return_response=True)
    say("delete", deleted.deleted, deleted.prev_kvs[0].value, client.delete("keys/b"))
    say("delete a prefix", client.delete_prefix("keys/").deleted)
    say("an empty key", error_of(lambda: client.put("", "1")))
    say("a large value", len(client.put("large", "x" * 1_400_000).SerializeToString()) > 0, len(client.get("large")[0]))
    say("too large a value", error_of(lambda: client.put("large", "x" * 1_600_000)))


def transactions(client, revisions):
    txn = client.transactions
    client.put("txn/a", "5")
    _, meta = client.get("txn/a")
    comparisons = {
        "value =": txn.value("txn/a") == "5",
        "value >": txn.value("txn/a") > "4",
        "value <": txn.value("txn/a") < "4",
        "value !=": txn.value("txn/a") != "4",
        "version": txn.version("txn/a") == 1,
        "create": txn.create("txn/a") == meta.create_revision,
        "mod": txn.mod("txn/a") > meta.mod_revision,
        "absent": txn.create("txn/none") == 0,
    }
    for name, comparison in comparisons.items():
        answer = client.transaction(compare=[comparison], success=[txn.get("txn/a")], failure=[])
        say("compare", name, answer[0], [[value for value, _ in part] for part in answer[1]])
    succeeded, parts = client.transaction(
        compare=[txn.value("txn/a") == "5", txn.version("txn/b") == 0],
        success=[txn.put("txn/a", "6"), txn.put("txn/b", "7"), txn.get("txn/a"), txn.delete("txn/none")],
        failure=[txn.put("txn/a", "wrong")],
    )
    say("txn", succeeded, [type(part).__name__ for part in parts], parts[2][0][0])
    _, meta = client.get("txn/a")
    say("its revision", revisions.step(meta.mod_revision))
    inner = txn.txn(compare=[txn.value("txn/a") == "6"], success=[txn.put("txn/c", "8")], failure=[])
    succeeded, _ = client.transaction(compare=[], success=[inner, txn.put("txn/d", "9")], failure=[])
    say("nested", succeeded, client.get("txn/c")[0], client.get("txn/d")[0])
    twice = [txn.put("txn/e", "1"), txn.put("txn/e", "2")]
    say("a key twice", error_of(lambda: client.transaction(compare=[], success=twice, failure=[])))
    many = [txn.put(f"txn/{number}", "1") for number in range(129)]
    say("129 operations", error_of(lambda: client.transaction(compare=[], success=many, failure=[])))


def leases(client):
    lease = client.lease(100, lease_id=4711)
    say("lease", lease.id, lease.ttl, lease.granted_ttl, 90 < lease.remaining_ttl <= 100)
    client.put("leases/b", "1", lease=lease)
    client.put("leases/a", "1", lease=lease)
    say("its keys", sorted(lease.keys), client.get("leases/a")[1].lease_id)
    say("refresh", [answer.TTL for answer in lease.refresh()])
    say("the id again", error_of(lambda: client.lease(100, lease_id=4711)))
    say("a key of no lease", error_of(lambda: client.put("leases/c", "1", lease=4712)))
    lease.revoke()
    say("revoked", client.get("leases/a")[0], lease.remaining_ttl, error_of(lease.revoke))
    say("refresh of none", [answer.TTL for answer in lease.refresh()])
    client.put("leases/short", "1", lease=client.lease(2))
    say("a lease ends", type(client.watch_once("leases/short", timeout=WAIT_S)).__name__)
    say("a long TTL", error_of(lambda: client.lease(10_000_000_000)))


def watch_of(client):
    """An event for the moment in which the server has confirmed this client's next watch."""
    confirmed = threading.Event()
    add_callback = client.watcher.add_callback

    def add(*words, **more):
        watch_id = add_callback(*words, **more)
        confirmed.set()
        return watch_id

    client.watcher.add_callback = add
    return confirmed


def locks(client):
    other = connect()
    lock = client.lock("one", ttl=30)
    say("lock", lock.acquire(), lock.is_acquired(), [answer.TTL for answer in lock.refresh()])
    rival = other.lock("one", ttl=30)
    say("rival", rival.acquire(timeout=0.2), rival.is_acquired())
    acquired = []
    watching = watch_of(other)
    waiting = threading.Thread(target=lambda: acquired.append(rival.acquire(timeout=WAIT_S)))
    waiting.start()
    # A release between its attempt and its watch escapes the client.
    watching.wait(WAIT_S)
    say("release", lock.release())
    waiting.join()
    # Two threads that print at once mix their lines.
    say("rival after the release", *acquired)
    say("who has it", lock.is_acquired(), rival.is_acquired(), lock.release(), rival.release())
    abandoned = other.lock("two", ttl=2)
    say("abandoned", abandoned.acquire(), client.lock("two", ttl=30).acquire(timeout=WAIT_S))

    counted = {"inside": 0, "entries": 0, "most": 0}

    def contend():
        with connect() as own:
            for _ in range(5):
                held = own.lock("many", ttl=30)
                # A release between its attempt and its watch escapes the client, so it tries again soon.
                while not held.acquire(timeout=0.3):
                    pass
                counted["inside"] += 1
                counted["most"] = max(counted["most"], counted["inside"])
                counted["entries"] += 1
                counted["inside"] -= 1
                held.release()

    contenders = [threading.Thread(target=contend) for _ in range(4)]
    for contender in contenders:
        contender.start()
    for contender in contenders:
        contender.join()
    say("contended", counted["entries"], counted["most"])
    other.close()


def watches(client, revisions):
    def describe(event):
        return type(event).__name__, event.key, event.value, event.version, revisions.step(event.mod_revision)

    def take(events, count):
        return [describe(next(events)) for _ in range(count)]

    start = client.put("watch/a", "1").header.revision
    events, cancel = client.watch_prefix("watch/", prev_kv=True)
    history, cancel_history = client.watch_prefix("watch/", start_revision=start)
    client.put("watch/a", "2")
    client.put("elsewhere", "1")
    client.put("watch/b", "1")
    client.transaction(
        compare=[], success=[client.transactions.put("watch/a", "3"), client.transactions.delete("watch/b")], failure=[]
    )
    client.delete("watch/a")
    say("events", take(events, 5))
    say("from a revision", take(history, 6))
    client.put("watch/a", "4")
    client.put("watch/a", "5")
    next(events)
    event = next(events)
    say("previous value", event.prev_value, event.prev_version)
    for stop in (cancel, cancel_history):
        stop()
    say("after cancel", len(list(events)))
    say("nothing happens", error_of(lambda: client.watch_once("watch/quiet", timeout=0.1)))
    many = [client.watch(f"many/{number}") for number in range(200)]
    for number in range(200):
        client.put(f"many/{number}", str(number))
    say("200 watchers", sum(int(next(watched).value) for watched, _ in many))
    for _, stop in many:
        stop()
    current = client.put("watch/a", "6").header.revision
    client.compact(current)
    say("compacted", error_of(lambda: next(client.watch("watch/a", start_revision=start)[0])))
    say("compacted already", error_of(lambda: client.compact(current)))
    say("a future revision", error_of(lambda: client.compact(current + 1000)))


def server(client):
    status = client.status()
    say("status", status.leader is not None, status.db_size > 0)
    members = list(client.members)
    say("members", len(members), members[0].client_urls == [f"http://127.0.0.1:{PORT}"])
    say("alarms", list(client.list_alarms()))
    say("defragment", client.defragment())
    say("hash", client.hash() == client.hash())
    copy = io.BytesIO()
    client.snapshot(copy)
    say("snapshot", len(copy.getvalue()) > 10_000)
    say("a login without users", error_of(lambda: connect(user="root", password="x")))


def logins(user, password, ca):
    """With users: what a client without a login, with a wrong one and with a good one gets."""
    say("no login", error_of(lambda: connect(ca_cert=ca).put("a", "1")))
    say("a wrong password", error_of(lambda: connect(ca_cert=ca, user=user, password=f"{password}!")))
    client = connect(ca_cert=ca, user=user, password=password)
    events, cancel = client.watch("a")
    lease = client.lease(100)
    client.put("a", "1", lease=lease)
    say("a login", next(events).value, client.get("a")[0], [answer.TTL for answer in lease.refresh()])
    cancel()
    with client.lock("one") as lock:
        say("lock", lock.is_acquired())
    lease.revoke()


def recipes():
    client = connect()
    revisions = Revisions(client)
    keys(client, revisions)
    transactions(client, revisions)
    leases(client)
    locks(client)
    # Leases that ended meanwhile are revisions too.
    watches(client, Revisions(client))
    server(client)
    client.close()


if LOGIN:
    logins(*LOGIN)
else:
    recipes()
