//! `pg_catalog` and `information_schema` as drivers and tools look for them.

pub mod types;
