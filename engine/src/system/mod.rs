//! The views and functions of schema `kanon`.
