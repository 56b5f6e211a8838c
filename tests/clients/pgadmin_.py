"""pgAdmin's browser, walked through as its users open it: pgadmin_.py PORT ROLE PASSWORD, with a Python that has
scripts/pgadmin-requirements.txt. PostgreSQL 15 passes all. Every node's children, properties, SQL, statistics and dependencies are asked of the web application itself, the dashboard too, and rows are
viewed and asked for. A check is one kind of panel, and passes if every answer of it is a good one. The tables are those of
tests/tests/clients/world.rs."""

import builtins
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import time

PANELS = ["obj", "sql", "stats", "dependency", "dependent"]
# Panels that a kind of node does not have.
MISSING = {404, 405, 406}
DASHBOARD = "session_stats,tps_stats,ti_stats,to_stats,bio_stats"
DEEPEST = 8

# What a node differs in, by panel. Each must fail there.
KNOWN = {}


def application(home):
    """pgAdmin for one user of a desktop, with its data in a folder."""
    root = next(iter(importlib.util.find_spec("pgadmin4").submodule_search_locations))
    sys.path.insert(0, root)
    builtins.SERVER_MODE = False
    os.environ.update(HOME=home, SQLITE_PATH=os.path.join(home, "pgadmin4.db"))
    import config

    config.MASTER_PASSWORD_REQUIRED = config.USE_OS_SECRET_STORAGE = config.UPGRADE_CHECK_ENABLED = False
    config.CONSOLE_LOG_LEVEL = 60
    from pgadmin import create_app

    app = create_app()
    app.config["WTF_CSRF_ENABLED"] = False
    app.PGADMIN_INT_KEY, app.PGADMIN_RUNTIME = "", False
    app.run_before_app_start()
    return app


class Browser:
    def __init__(self, app, port, role, password):
        self.http = app.test_client()
        self.panels = {}
        self.is_node = False
        self.database = self.table = None
        self.http.get("/browser/", follow_redirects=True)
        server = {"name": "node", "host": "127.0.0.1", "port": int(port), "db": "kanon", "username": role, "password": password,
                  "save_password": 0, "connection_params": {"sslmode": "disable"}}
        self.server = self.http.post("/browser/server/obj/1/", json=server).get_json()["node"]["_id"]
        self.ask("server.connect", f"/browser/server/connect/1/{self.server}", "post", data=json.dumps({"password": password}))

    def ask(self, panel, path, method="get", **body):
        """The answer, and whether it is a good one, told of the panel."""
        response = getattr(self.http, method)(path, **body)
        if response.status_code in MISSING:
            return None
        answer = response.get_json(silent=True)
        good = response.status_code == 200 and not (isinstance(answer, dict) and answer.get("success", 1) == 0)
        self.panels.setdefault(panel, []).append(None if good else f"{path}: {response.get_data(as_text=True)[:600]}")
        return answer if good else None

    def items(self, *asked):
        answer = self.ask(*asked)
        if isinstance(answer, dict):
            answer = answer.get("data", answer.get("result"))
        if isinstance(answer, dict):
            answer = [answer] if "_type" in answer else list(answer.values())
        return [item for item in answer or [] if isinstance(item, dict)]

    def walk(self, kind, place, depth=0):
        """What is below a node of the tree."""
        if depth > DEEPEST:
            return
        for child in self.items(f"{kind}.children", f"/browser/{kind}/children/{join(place)}"):
            below = child.get("_type") or ""
            if below.startswith("coll-"):
                below = below[5:]
                self.ask(f"{below}.collection", f"/browser/{below}/obj/{join(place)}/")
                found = self.items(f"{below}.nodes", f"/browser/{below}/nodes/{join(place)}/")
            else:
                found = [child]
            self.visit(below, place, [item for item in found if "_id" in item], depth)

    def visit(self, kind, above, found, depth):
        if kind == "schema":
            self.is_node = any(item.get("label") == "kanon" for item in found)
        wanted = {"database": "kanon", "schema": "public"}.get(kind)
        chosen = [item for item in found if item.get("label") == wanted] if wanted else found[: 5 if kind == "table" else 2]
        for item in chosen:
            place = [*above, item["_id"]]
            if kind == "database":
                self.database = item["_id"]
                self.ask("database.connect", f"/browser/database/connect/{join(place)}", "post")
            if kind == "table":
                self.table = item["_id"] if item.get("label") == "icd10" else self.table
            for panel in PANELS:
                self.ask(f"{kind}.{panel}", f"/browser/{kind}/{panel}/{join(place)}")
            if item.get("inode", True):
                self.walk(kind, place, depth + 1)

    def dashboard(self):
        assert self.database, self.panels
        for place in (join([self.server]), join([self.server, self.database])):
            self.ask("dashboard.stats", f"/dashboard/dashboard_stats/{place}?chart_names={DASHBOARD}")
            for panel in ("activity", "locks", "prepared"):
                self.ask(f"dashboard.{panel}", f"/dashboard/{panel}/{place}")
        self.ask("dashboard.config", f"/dashboard/config/{self.server}")

    def rows(self, panel, number, start, *initialize, **body):
        """What a grid of rows shows."""
        self.ask(panel, *initialize, "post", json={"user": None, "password": None, "dbname": "kanon"})
        self.ask(panel, f"/sqleditor/{start}/{number}", "post" if body else "get", **body)
        until = time.monotonic() + 30
        while True:
            answer = self.http.get(f"/sqleditor/poll/{number}").get_json()
            if (answer["data"] or {}).get("status") not in ("Busy", "NotConnected") or time.monotonic() > until:
                return answer
            time.sleep(0.1)

    def grids(self):
        at = f"1/{self.server}/{self.database}"
        icd10 = self.rows("data.table", 1001, "view_data/start", f"/sqleditor/initialize/viewdata/1001/3/table/{at}/{self.table}")
        self.said("data.rows", (icd10["data"] or {}).get("rows_fetched_to") == 6, icd10)
        answer = self.rows("data.query", 1002, "query_tool/start", f"/sqleditor/initialize/sqleditor/1002/{at}",
                           json={"sql": "SELECT sex, count(*) FROM heart_disease GROUP BY sex ORDER BY sex", "explain_plan": None})
        self.said("data.answer", (answer["data"] or {}).get("result") == [["female", "97"], ["male", "207"]], answer)
        error = self.rows("data.query", 1003, "query_tool/start", f"/sqleditor/initialize/sqleditor/1003/{at}",
                          json={"sql": "SELECT * FROM nowhere", "explain_plan": None})
        self.said("data.message", 'relation "nowhere" does not exist' in str(error["errormsg"]), error)

    def said(self, panel, right, found):
        self.panels.setdefault(panel, []).append(None if right else str(found)[:600])


def join(place):
    return "/".join(str(part) for part in place)


def main():
    home = tempfile.mkdtemp()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            browser = Browser(application(home), *sys.argv[1:4])
            browser.walk("server", [1, browser.server])
            browser.dashboard()
            browser.grids()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    known = KNOWN if browser.is_node else {}
    passed = differ = 0
    for panel, found in browser.panels.items():
        failures = [failure for failure in found if failure]
        if bool(failures) != (panel in known):
            print(f"--- {panel}: " + (f"{len(failures)} of {len(found)} failed\n{failures[0]}" if failures else "passes, and is said to differ"))
        elif failures:
            differ += 1
            print(f"known: {panel}: {known[panel]}")
        else:
            passed += 1
    for panel in known.keys() - browser.panels.keys():
        print(f"--- {panel} is said to differ, and there is no such panel")
        passed -= 1
    print(f"pgAdmin|{importlib.metadata.version('pgadmin4')}|{len(browser.panels)}|{passed}|{differ}", flush=True)
    sys.exit(0 if passed and passed + differ == len(browser.panels) else 1)


if __name__ == "__main__":
    main()
