"""The settings of the Superset of superset_.py: its own data in a file, no pages, no tokens against forged forms."""

import os

SECRET_KEY = "of a server on loopback that lives for a minute"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(os.environ["SUPERSET_HOME"], "superset.db")
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
CONTENT_SECURITY_POLICY_WARNING = False
PREVENT_UNSAFE_DB_CONNECTIONS = False
ROW_LIMIT = 1000
