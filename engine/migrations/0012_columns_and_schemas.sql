-- SELECT on columns of a table, by name, as grants on tables are.
CREATE TABLE column_grants (
    schema_name TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    grantee     TEXT NOT NULL,
    column_name TEXT NOT NULL,
    PRIMARY KEY (schema_name, table_name, grantee, column_name)
) STRICT;

-- Schemas that not everybody may use. What is not here, everybody may.
CREATE TABLE closed_schemas (
    schema_name TEXT PRIMARY KEY NOT NULL
) STRICT;

-- Who may use them by name.
CREATE TABLE schema_grants (
    schema_name TEXT NOT NULL,
    grantee     TEXT NOT NULL,
    PRIMARY KEY (schema_name, grantee)
) STRICT;
