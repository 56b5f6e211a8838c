# What users of R's RPostgreSQL do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
# Rscript rpostgresql.R PORT USER PASSWORD.
suppressPackageStartupMessages(library(RPostgreSQL))

arguments <- commandArgs(trailingOnly = TRUE)
driver <- dbDriver("PostgreSQL")

# Checks that a node fails, and why.
known <- list()

open <- function(...) {
  given <- list(drv = driver, host = "127.0.0.1", port = as.integer(arguments[1]), user = arguments[2], password = arguments[3], dbname = "kanon")
  do.call(dbConnect, utils::modifyList(given, list(...)))
}

using <- function(work) {
  con <- open()
  on.exit(dbDisconnect(con))
  work(con)
}

same <- function(ours, expected) {
  if (!isTRUE(all.equal(ours, expected, check.attributes = FALSE))) {
    stop(paste(c(utils::capture.output(str(ours)), "not", utils::capture.output(str(expected))), collapse = "\n"))
  }
}

ask <- function(con, sql) suppressWarnings(dbGetQuery(con, sql))

# The driver says errors by a warning and by what dbGetException tells.
refuses <- function(con, sql, text) {
  found <- tryCatch(suppressWarnings(dbSendQuery(con, sql)), error = function(e) conditionMessage(e))
  if (!is.character(found)) stop(paste("no error:", sql))
  said <- paste(found, dbGetException(con)$errorMsg)
  if (!grepl(text, said, fixed = TRUE)) stop(said)
}

checks <- list(
  connects = function() using(function(con) {
    same(substr(ask(con, "SELECT version() AS v")$v, 1, 14), "PostgreSQL 15.")
    about <- dbGetInfo(con)
    same(c(about$dbname, about$user, substr(about$serverVersion, 1, 3)), c("kanon", arguments[2], "15."))
  }),
  wrongPassword = function() {
    found <- tryCatch({ open(password = "wrong"); "connected" }, error = conditionMessage)
    if (!grepl("could not connect|password", found)) stop(found)
  },
  integers = function() using(function(con) {
    found <- ask(con, "SELECT i2, i4 FROM kinds ORDER BY id")
    same(found$i2, c(-7L, -32768L, NA))
    same(found$i4[c(1, 3)], c(70000L, NA))
  }),
  bigIntegers = function() using(function(con) same(ask(con, "SELECT i8 FROM kinds WHERE id = 1")$i8, 2^40)),
  floats = function() using(function(con) {
    same(ask(con, "SELECT f8 FROM kinds ORDER BY id")$f8, c(0.1, 2.2250738585072014e-308, NA))
    same(ask(con, "SELECT 'NaN'::float8 AS n, 'Infinity'::float8 AS i")$i, Inf)
  }),
  numerics = function() using(function(con) same(ask(con, "SELECT n FROM kinds ORDER BY id")$n, c(-123.45, 99999999.99, NA))),
  booleans = function() using(function(con) same(ask(con, "SELECT flag FROM kinds ORDER BY id")$flag, c(TRUE, FALSE, NA))),
  texts = function() using(function(con) same(enc2utf8(ask(con, "SELECT t FROM kinds ORDER BY id")$t), c("é ' \\ \t\n", "", NA))),
  dates = function() using(function(con) {
    found <- ask(con, "SELECT d FROM kinds ORDER BY id")$d
    same(class(found), "Date")
    same(as.character(found[c(1, 3)]), c("2024-02-29", NA))
  }),
  moments = function() using(function(con) {
    found <- ask(con, "SELECT ts, tz FROM kinds WHERE id = 1")
    same(format(found$ts, "%Y-%m-%d %H:%M:%OS2", tz = "UTC"), "2024-02-29 12:45:01.25")
    same(class(found$tz)[1], "POSIXct")
  }),
  bytes = function() using(function(con) same(ask(con, "SELECT b FROM kinds WHERE id = 1")$b, "\\x00ff5c")),
  arraysAreTexts = function() using(function(con) same(ask(con, "SELECT a4::text AS a FROM kinds WHERE id = 1")$a, "{1,NULL,3}")),
  parameters = function() using(function(con) {
    same(dbGetQuery(con, "SELECT title FROM icd10 WHERE code = $1", "I10")$title, "Essential hypertension")
    same(dbGetQuery(con, "SELECT $1::int4 + $2::int4 AS n", c(40L, 2L))$n, 42L)
    same(dbGetQuery(con, "SELECT $1::text AS t", "it's \\")$t, "it's \\")
  }),
  quoting = function() using(function(con) {
    same(postgresqlEscapeStrings(con, "it's"), "it''s")
    same(ask(con, paste0("SELECT '", postgresqlEscapeStrings(con, "it's \\"), "' AS t"))$t, "it's \\")
  }),
  emptyResults = function() using(function(con) same(nrow(ask(con, "SELECT code FROM icd10 WHERE false")), 0L)),
  fetchesInParts = function() using(function(con) {
    result <- dbSendQuery(con, "SELECT n::int4 FROM generate_series(1, 10000) AS g(n) ORDER BY g.n")
    same(fetch(result, n = 100)$n, 1:100)
    same(nrow(fetch(result, n = -1)), 9900L)
    same(dbHasCompleted(result), TRUE)
    dbClearResult(result)
  }),
  columnsOfResults = function() using(function(con) {
    result <- dbSendQuery(con, "SELECT id, t, f8, d FROM kinds")
    about <- dbColumnInfo(result)
    same(about$name, c("id", "t", "f8", "d"))
    same(about$type, c("BIGINT", "TEXT", "FLOAT8", "DATE"))
    dbClearResult(result)
  }),
  statementsAndRows = function() using(function(con) {
    result <- dbSendQuery(con, "SELECT 1 AS a")
    same(dbGetStatement(result), "SELECT 1 AS a")
    fetch(result)
    same(dbGetRowCount(result), 1L)
    dbClearResult(result)
  }),
  transactions = function() using(function(con) {
    dbBegin(con)
    same(ask(con, "SELECT 1 AS a")$a, 1L)
    dbCommit(con)
    dbBegin(con)
    refuses(con, "SELECT 1 / 0", "division by zero")
    refuses(con, "SELECT 1", "current transaction is aborted")
    dbRollback(con)
    same(ask(con, "SELECT 2 AS a")$a, 2L)
  }),
  savepoints = function() using(function(con) {
    dbBegin(con)
    dbSendQuery(con, "SAVEPOINT a")
    refuses(con, "SELECT 1 / 0", "division by zero")
    dbSendQuery(con, "ROLLBACK TO SAVEPOINT a")
    same(ask(con, "SELECT 3 AS a")$a, 3L)
    dbCommit(con)
  }),
  errors = function() using(function(con) {
    refuses(con, "SELECT * FROM nowhere", "relation \"nowhere\" does not exist")
    refuses(con, "SELEC 1", "syntax error")
    refuses(con, "SELECT 'x'::int4", "invalid input syntax for type integer")
    same(ask(con, "SELECT 1 AS a")$a, 1L)
  }),
  writesAreRefused = function() using(function(con) {
    refuses(con, "DELETE FROM icd10", "in a read-only transaction")
    same(suppressWarnings(tryCatch(dbWriteTable(con, "new_table", data.frame(a = 1)), error = function(e) FALSE)), FALSE)
  }),
  timeout = function() using(function(con) {
    dbSendQuery(con, "SET statement_timeout = 200")
    refuses(con, "SELECT count(*) FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000000) AS b(n)", "statement timeout")
  }),
  tables = function() using(function(con) {
    found <- dbListTables(con)
    if (!all(c("heart_disease", "icd10", "kinds", "visits") %in% found)) stop(paste(found, collapse = " "))
    same(dbExistsTable(con, "icd10"), TRUE)
    same(dbExistsTable(con, c("public", "icd10")), TRUE)
    same(dbExistsTable(con, "nowhere"), FALSE)
  }),
  fields = function() using(function(con) {
    same(dbListFields(con, "icd10"), c("code", "title"))
    same(dbListFields(con, "kinds")[1:4], c("id", "flag", "i2", "i4"))
  }),
  readsATable = function() using(function(con) {
    same(dim(dbReadTable(con, "icd10")), c(6L, 2L))
    same(dim(dbReadTable(con, c("public", "icd10"))), c(6L, 2L))
  }),
  severalConnections = function() {
    cons <- lapply(1:5, function(n) open())
    same(length(unique(sapply(cons, function(con) ask(con, "SELECT pg_backend_pid() AS p")$p))), 5L)
    lapply(cons, dbDisconnect)
  }
)

atNode <- list(
  aggregateOfAProtectedTable = function() using(function(con) {
    found <- ask(con, "SELECT sex, count(*) AS n, avg(age) AS age FROM heart_disease WHERE age > 40 GROUP BY sex ORDER BY sex")
    same(found$sex, c("female", "male"))
    if (min(found$n) < 10 || min(found$age) < 40) stop("wrong numbers")
  }),
  rowsAreRefused = function() using(function(con) {
    refuses(con, "SELECT * FROM heart_disease", "heart_disease")
    found <- tryCatch(suppressWarnings(dbReadTable(con, "heart_disease")), error = function(e) "refused")
    same(is.data.frame(found) && nrow(found) > 0, FALSE)
  }),
  fieldsOfAProtectedTable = function() using(function(con) same(dbListFields(con, "heart_disease")[1:3], c("patient_id", "age", "sex")))
)

node <- using(function(con) grepl("Kanon", ask(con, "SELECT version() AS v")$v))
if (node) checks <- c(checks, atNode) else known <- list()
passed <- differ <- 0
for (name in names(checks)) {
  failure <- tryCatch({ checks[[name]](); NULL }, error = conditionMessage)
  if (is.null(failure) && is.null(known[[name]])) {
    passed <- passed + 1
  } else if (is.null(failure)) {
    cat("---", name, "passes, and is said to differ:", known[[name]], "\n")
  } else if (!is.null(known[[name]])) {
    differ <- differ + 1
    cat("known: ", name, ": ", known[[name]], "\n", sep = "")
  } else {
    cat("---", name, "failed\n", failure, "\n")
  }
}
for (name in setdiff(names(known), names(checks))) {
  cat("---", name, "is said to differ, and there is no such check\n")
  passed <- passed - 1
}
cat("RPostgreSQL|", as.character(packageVersion("RPostgreSQL")), "|", length(checks), "|", passed, "|", differ, "\n", sep = "")
quit(status = if (passed + differ == length(checks)) 0 else 1)
