"""Runs every check of a client's script, says which failed and why, and exits 1 if any did."""

import sys
import traceback


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
