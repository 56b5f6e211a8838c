//! Statements: their bounds, the parser in front of DataFusion's, and what each kind of statement is.
