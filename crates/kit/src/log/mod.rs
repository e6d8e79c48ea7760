//! Logs of any platform: the text that a terminal would show of what programs wrote, and logs read in parts, of which a
//! whole huge one is never kept.

mod excerpt;
mod scan;
mod terminal;

pub use self::{
    excerpt::{condense, end_of},
    scan::{Found, MAX_SPAN, Search, Tail, Wanted, Window},
    terminal::{charset, complete, decode, decode_line, line, lines, plain, readable},
};
