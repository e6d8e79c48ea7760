use std::{fs, io, sync::atomic::AtomicBool};

use proptest::prelude::*;

use super::{chain::ChainError, *};
use crate::testing::Lines;

fn identity() -> ConnectorIdentity {
    ConnectorIdentity { namespace: "agents".into(), name: "fake".into(), uid: "uid-1".into() }
}

fn start(config: &AuditConfig, directory: &std::path::Path, stdout: Box<dyn Write + Send>) -> Arc<Audit> {
    Audit::start(&identity(), "fake", config, directory.to_owned(), stdout)
}

fn call(audit: &Arc<Audit>, tool: &str) {
    let record = audit.begin(&CallDescription {
        request_id: "r-1",
        caller: &Caller::Anonymous,
        peer: None,
        tool,
        effect: Some(Effect::Read),
        arguments: &Map::new(),
        trace_id: "",
    });
    record.end(CallOutcome::Success, "");
}

/// Standard output that can break, and can hang until it is let go.
struct Broken {
    lines: Lines,
    fails: Arc<AtomicBool>,
    hanging: Arc<Mutex<()>>,
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _hang = self.hanging.lock().unwrap();
        if self.fails.load(Ordering::SeqCst) { Err(io::ErrorKind::BrokenPipe.into()) } else { self.lines.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn file_config(max_bytes: u64, files: u32, hash_chain: bool) -> AuditConfig {
    AuditConfig { file: Some(AuditFileConfig { max_bytes, files }), hash_chain }
}

#[test]
fn one_sink_that_breaks_or_hangs_stops_neither_the_other_nor_a_call() {
    let directory = tempfile::tempdir().unwrap();
    let (lines, broken, hanging) = (Lines::default(), Arc::new(AtomicBool::new(true)), Arc::default());
    let stdout = Broken { lines: lines.clone(), fails: Arc::clone(&broken), hanging: Arc::clone(&hanging) };
    let audit = start(&file_config(100_000_000, 1, false), directory.path(), Box::new(stdout));
    call(&audit, "first");
    audit.finish();
    let state = |name: &str| audit.states().into_iter().find(|state| state.name == name).unwrap();
    assert_eq!((state("stdout").lost, state("stdout").failing), (2, true));
    assert_eq!((state("file").lost, state("file").failing), (0, false));

    broken.store(false, Ordering::SeqCst);
    call(&audit, "second");
    audit.finish();
    assert_eq!((state("stdout").lost, state("stdout").failing), (2, false));
    assert_eq!(lines.values().len(), 2);

    let hang = hanging.lock().unwrap();
    // More than the queue holds: these calls must neither wait nor keep what can't be written.
    for _ in 0..4_000 {
        call(&audit, "many");
    }
    assert!(state("stdout").lost > 1_000, "{:?}", audit.states());
    drop(hang);
    audit.finish();
    let written = fs::read_to_string(directory.path().join("audit.log")).unwrap().lines().count();
    assert_eq!(written as u64 + state("file").lost, 8_004);
}

/// Counts how often it is written to.
#[derive(Clone, Default)]
struct Writes(Arc<AtomicU64>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_that_come_fast_are_written_together() {
    let (writes, began) = (Writes::default(), std::time::Instant::now());
    let audit = start(&AuditConfig::default(), "/nonexistent".as_ref(), Box::new(writes.clone()));
    for _ in 0..1_000 {
        call(&audit, "many");
    }
    audit.finish();
    assert_eq!(audit.states()[0].lost, 0);
    let most = began.elapsed().as_millis() / sink::GATHER.as_millis() + 2;
    let written = writes.0.load(Ordering::SeqCst);
    assert!(u128::from(written) <= most, "{written} writes, {most} at most");
}

#[test]
fn a_file_that_can_not_be_written_is_counted_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("not-there-yet");
    let lines = Lines::default();
    let audit = start(&file_config(1_000_000, 2, false), &folder, Box::new(lines.clone()));
    call(&audit, "a");
    audit.finish();
    let file = || audit.states().remove(1);
    assert_eq!((file().lost, file().failing), (2, true));
    assert_eq!(lines.values().len(), 2);
    fs::create_dir(&folder).unwrap();
    call(&audit, "b");
    audit.finish();
    assert_eq!((file().lost, file().failing), (2, false));
}

#[test]
fn full_files_are_put_aside_and_only_so_many_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let audit = start(&file_config(2_000, 3, true), directory.path(), Box::new(io::sink()));
    for _ in 0..20 {
        call(&audit, "a");
        // One at a time: what waits together is written together.
        audit.finish();
    }
    let mut names: Vec<String> =
        fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
    let mut link = None;
    for name in ["audit.log.2", "audit.log.1", "audit.log"] {
        let file = fs::File::open(directory.path().join(name)).unwrap();
        assert!(file.metadata().unwrap().len() <= 2_500, "{name}");
        let verified = chain::verify(io::BufReader::new(file)).unwrap();
        assert!(verified.records > 0 && verified.continues.is_some(), "{name}: {verified:?}");
        assert!(link.is_none() || verified.continues == link, "{name} does not continue the file before it");
        link = verified.last;
    }
}

/// A chained file of `calls` calls.
fn chained(calls: usize) -> Vec<String> {
    let lines = Lines::default();
    let audit = start(&AuditConfig { file: None, hash_chain: true }, "/nonexistent".as_ref(), Box::new(lines.clone()));
    for _ in 0..calls {
        call(&audit, "a");
    }
    audit.finish();
    lines.text().lines().map(str::to_owned).collect()
}

fn verify(lines: &[String]) -> Result<chain::Verified, ChainError> {
    chain::verify(lines.join("\n").as_bytes())
}

#[test]
fn a_chain_is_found_intact_and_says_where_it_begins() {
    let lines = chained(3);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&first["chainstart"], first["chainprevious"].as_str().unwrap().len()), (&Value::Bool(true), 64));
    let verified = verify(&lines).unwrap();
    assert_eq!((verified.records, verified.chains, verified.continues), (6, 1, None));
    // The process began anew and went on in the same file.
    let verified = verify(&[lines, chained(1)].concat()).unwrap();
    assert_eq!((verified.records, verified.chains), (8, 2));
}

#[test]
fn what_was_never_chained_is_told_apart() {
    let lines = Lines::default();
    let audit = start(&AuditConfig::default(), "/nonexistent".as_ref(), Box::new(lines.clone()));
    call(&audit, "a");
    audit.finish();
    assert!(matches!(chain::verify(lines.text().as_bytes()), Err(ChainError::NotChained(1))));
    assert!(matches!(chain::verify("{".as_bytes()), Err(ChainError::NoRecord(1))));
    assert_eq!(chain::verify("".as_bytes()).unwrap(), chain::Verified::default());
}

#[tokio::test(start_paused = true)]
async fn refused_callers_that_are_not_told_are_counted_in_the_next_that_is() {
    let lines = Lines::default();
    let audit = start(&AuditConfig::default(), "/nonexistent".as_ref(), Box::new(lines.clone()));
    for _ in 0..15 {
        audit.refused_caller("r", None, "expired");
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    audit.refused_caller("r", None, "expired");
    audit.finish();
    let records = lines.values();
    assert_eq!(records.len(), 11);
    assert_eq!(records[10]["data"]["unmapped"]["suppressed"], 5);
    assert!(records[9]["data"]["unmapped"].get("suppressed").is_none());
}

#[test]
fn a_recorded_run_has_the_form_of_todays_records() {
    // The queries in config/audit are tested with it.
    let recorded = include_str!("../../../../config/audit/recorded-run.jsonl");
    let paths = |value: &Value| {
        fn walk(value: &Value, path: &str, into: &mut std::collections::BTreeSet<String>) {
            match value.as_object() {
                Some(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), into)),
                None => drop(into.insert(path.to_owned())),
            }
        }
        let mut paths = std::collections::BTreeSet::new();
        walk(value, "", &mut paths);
        paths
    };
    let lines = Lines::default();
    let audit = start(&AuditConfig::default(), "/nonexistent".as_ref(), Box::new(lines.clone()));
    let record = audit.begin(&CallDescription {
        request_id: "r-1",
        caller: &Caller::Anonymous,
        peer: Some(([127, 0, 0, 1], 1).into()),
        tool: "a",
        effect: Some(Effect::Read),
        arguments: &Map::new(),
        trace_id: "0af7651916cd43dd8448eb211c80319c",
    });
    record.end(CallOutcome::Error, "not_found");
    audit.finish();
    let today = lines.values();
    let recorded: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in today {
        let of = |value: &Value| (value["type"].clone(), value["data"]["status_id"].clone());
        let like = recorded.iter().find(|old| of(old) == of(&record)).unwrap();
        assert_eq!(paths(like), paths(&record), "record the run anew");
    }
}

proptest! {
    #[test]
    fn every_change_of_a_chain_is_found(line in 0_usize..7, place in 0_usize..2_000, kind in 0..4) {
        // The last line is left alone: that newest records were cut off or changed can't be seen.
        let mut lines = chained(4);
        let touched = lines.clone();
        match kind {
            0 => drop(lines.remove(line)),
            1 => lines.swap(line, line + 1),
            2 => lines.insert(line, touched[line + 1].clone()),
            _ => {
                let place = place % lines[line].len();
                let other = if lines[line].as_bytes()[place] == b'0' { "1" } else { "0" };
                lines[line].replace_range(place..=place, other);
            }
        }
        // A file may begin anywhere in a chain, and with another one: what stands before the first record is open.
        prop_assert!(verify(&lines).is_err() || (line == 0 && [0, 2].contains(&kind)));
    }
}
