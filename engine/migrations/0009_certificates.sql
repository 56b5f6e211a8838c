-- Which certificates of clients stand for which roles.
CREATE TABLE certificates (
    name TEXT PRIMARY KEY NOT NULL,          -- a subject (CN=alice,O=Clinic), or email:…, dns:…, uri:…, in the one way that the node writes it
    role TEXT NOT NULL UNIQUE REFERENCES roles (name) ON DELETE CASCADE
) STRICT;
