//! Makes it visible when records are changed, left out or put in between: each carries the SHA-256 of the line before it.
//! It doesn't make visible that the newest records were cut off, or that all were written anew; for that, records have
//! to leave the machine, as those on standard output do.

use std::{
    fmt::Write as _,
    io::{self, BufRead},
};

use aws_lc_rs::digest;
use serde::Deserialize;

/// Extension attribute of the CloudEvent: the SHA-256 of the line before, in hex.
const PREVIOUS: &str = "chainprevious";
/// Extension attribute of the CloudEvent: true for the first record of a chain.
const START: &str = "chainstart";
/// What the first record of a chain carries.
const NOTHING: [u8; 32] = [0; 32];

/// The end of a chain.
pub(super) struct Chain {
    previous: [u8; 32],
    started: bool,
}

impl Chain {
    /// A chain without a record. The next one says that a chain begins with it.
    pub fn new() -> Self {
        Self { previous: NOTHING, started: false }
    }

    /// Writes a record, which is a JSON object, with its link to the one before.
    pub fn append(&mut self, record: &str, text: &mut String) {
        let from = text.len();
        text.push_str(record.strip_suffix('}').unwrap_or(record));
        if !std::mem::replace(&mut self.started, true) {
            let _infallible = write!(text, r#","{START}":true"#);
        }
        let _infallible = write!(text, r#","{PREVIOUS}":"{}"}}"#, hex::encode(self.previous));
        self.previous = hash(text.get(from..).unwrap_or_default());
    }
}

fn hash(line: &str) -> [u8; 32] {
    let mut bytes = NOTHING;
    bytes.copy_from_slice(digest::digest(&digest::SHA256, line.as_bytes()).as_ref());
    bytes
}

/// What a file of chained records holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records in it.
    pub records: u64,
    /// Chains that begin in it.
    pub chains: u64,
    /// What its first record links to, if that is in an older file.
    pub continues: Option<String>,
    /// SHA-256 of its last line, to which the next file's first record links.
    pub last: Option<String>,
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "intact; records: {}, chains that begin here: {}", self.records, self.chains)?;
        if let Some(previous) = &self.continues {
            writeln!(f, "the first record continues the file whose last line has the SHA-256 {previous}")?;
        }
        if let Some(last) = &self.last {
            writeln!(f, "the last line has the SHA-256 {last}")?;
        }
        Ok(())
    }
}

/// Why a file is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It can't be read.
    #[error("failed to read the file")]
    Read(#[source] io::Error),
    /// A line is no record.
    #[error("line {0} is not an audit record")]
    NoRecord(u64),
    /// A record is in no chain.
    #[error("the record in line {0} is not chained: was spec.telemetry.audit.hashChain set when it was written?")]
    NotChained(u64),
    /// A record does not link to the one before it.
    #[error("the chain breaks at line {0}: a record before it was changed, left out or put in between")]
    Broken(u64),
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    chainstart: bool,
    chainprevious: Option<String>,
}

/// Checks that each record links to the one before it.
///
/// # Errors
/// At the first record that does not; the error names its line.
pub fn verify(file: impl BufRead) -> Result<Verified, ChainError> {
    let mut seen = Verified::default();
    for text in file.lines() {
        let text = text.map_err(ChainError::Read)?;
        let number = seen.records + 1;
        let link: Link = serde_json::from_str(&text).map_err(|_| ChainError::NoRecord(number))?;
        let previous = link.chainprevious.ok_or(ChainError::NotChained(number))?;
        let expected = if link.chainstart { Some(hex::encode(NOTHING)) } else { seen.last.take() };
        match expected {
            Some(expected) if expected != previous => return Err(ChainError::Broken(number)),
            Some(_) => {}
            None => seen.continues = Some(previous),
        }
        seen.chains += u64::from(link.chainstart);
        seen.records = number;
        seen.last = Some(hex::encode(hash(&text)));
    }
    Ok(seen)
}
