//! What is the same wherever it is done: errors as people read them, words that somebody else wrote, listening on both IP
//! families, schemas that other programs take.

pub mod errors;
pub mod foreign;
pub mod listener;
pub mod schema;
