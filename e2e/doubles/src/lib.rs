//! Strict doubles of platforms that can't run on the machine of a test. The unit tests of `mcp-connectors` start them on
//! loopback; `platform-double` runs one as a program, with faults that a story asks for.
//!
//! Each platform's folder holds what it has in it and what it answers; [`faults`] and [`admin`] are the same for all.
//! Failing answers hold the word `planted`, so that whoever shows more of them than he should is found out.

// A double is part of a test: where its own world is wrong it ends loudly.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "part of tests")]

pub mod admin;
pub mod circleci;
pub mod cloudwatch;
pub mod faults;
pub mod jenkins;
mod platform;
pub mod serving;

pub use platform::{Credentials, Platform, Refusal};
