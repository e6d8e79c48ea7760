//! The library as its users meet it, in one program: what one of these tests links, eight of them need not. A test whose
//! logging is the whole process's has a program of its own (`tests/canary`).
//!
//! One file is run by its name: `cargo test --test integration faults`.

#![allow(
    clippy::disallowed_methods,
    reason = "the product reads settings elsewhere and bounds answers; a test need not"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod clients;
mod contract;
mod faults;
mod forms;
mod metric_names;
mod mutations;
mod redis_real;
mod rooms;
mod served;
mod vault_real;
