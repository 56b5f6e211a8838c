"""Runs every check of a client's script, says which failed and why, and exits 1 if any did."""

import sys
import traceback

# A statement that takes much longer than any check.
LONG = "SELECT count(*) FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000000) AS b(n)"



def raises(what, statement, code=None):
    """The error that a call raises; fails if it raises none, or one of another class or SQLSTATE."""
    try:
        statement()
    except what as error:
        found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        assert code is None or found == code, f"SQLSTATE {found}, not {code}: {error}"
        return error
    raise AssertionError(f"no {what.__name__}")


def same(ours, expected):
    assert ours == expected, f"\n  {ours!r}\nnot\n  {expected!r}"


def run(module, *arguments):
    """Runs the functions `check_…` of a module, each with these arguments."""
    checks = [(name, f) for name, f in vars(module).items() if name.startswith("check_")]
    failed = 0
    for name, check in checks:
        try:
            check(*arguments)
        except Exception:
            failed += 1
            print(f"--- {name} failed\n{traceback.format_exc()}")
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    sys.exit(1 if failed or not checks else 0)


def tally(module, client, version, node, known, *arguments):
    """Runs the functions `check_…` of a module, and at a node those that are `node_check_…`, each with these arguments, and prints
    `client|version|checks|passed|known` last. A check that `known` gives a reason for must fail at a node: it is said and counted apart."""
    begin = ("check_", "node_check_") if node else ("check_",)
    checks = [(name, f) for name, f in vars(module).items() if name.startswith(begin)]
    known = known if node else {}
    passed = differ = 0
    for name, check in checks:
        try:
            check(*arguments)
        except Exception:
            if name in known:
                differ += 1
                print(f"known: {name}: {known[name]}")
            else:
                print(f"--- {name} failed\n{traceback.format_exc()}")
        else:
            if name in known:
                print(f"--- {name} passes, and is said to differ: {known[name]}")
            else:
                passed += 1
    for name in known.keys() - {name for name, _ in checks}:
        print(f"--- {name} is said to differ, and there is no such check")
        passed -= 1
    print(f"{client}|{version}|{len(checks)}|{passed}|{differ}", flush=True)
    sys.exit(0 if checks and passed + differ == len(checks) else 1)
