"""The beginning of a program that is watched: what it opens to write, connects to and starts."""

WATCHED = """
import json, os, sys
log = open(os.environ["AUDIT_LOG"], "a", buffering=1)
WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def base(folder):
    if isinstance(folder, int) and folder >= 0:
        return os.readlink(f"/proc/self/fd/{folder}")
    return os.getcwd()

def watch(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        seen = [event, repr(arguments[1:])]
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITE:
        seen = [event, os.path.abspath(os.fsdecode(arguments[0]))
                if not isinstance(arguments[0], int) else ""]
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.symlink", "os.rmdir"):
        place = arguments[1] if event in ("os.rename", "os.symlink") else arguments[0]
        seen = [event, os.path.join(base(arguments[-1]), os.fsdecode(place))]
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        seen = [event, repr(arguments[:2])]
    else:
        return
    log.write(json.dumps(seen) + "\\n")

sys.addaudithook(watch)
"""
"""Each line of the file $AUDIT_LOG is a JSON pair: the audit event, and what it was about."""
