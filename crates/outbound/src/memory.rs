//! One budget of memory for the whole process: bytes of requests and of platforms' answers, and what they become when they
//! are read as JSON, are counted against it before they are there. Who finds no room waits for a while, and is then refused.
//!
//! The budget follows from what the process may have in all: the limit of its cgroup, which is that of its container.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use memchr::memchr2;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

const MIB: usize = 1024 * 1024;
/// Bytes that are counted as one.
const UNIT: usize = 1024;
/// Memory that the process needs besides: the program, its connections, and answers that are kept.
const BASE: usize = 48 * MIB;
/// What is taken for the limit where there is none.
const UNLIMITED: usize = 1024 * MIB;
/// A number beyond this is how cgroups of version 1 say that there is no limit.
const NO_LIMIT: usize = 1 << 50;
/// Bytes that an element of a list comes to, with what is lost where lists grow.
const ELEMENT_BYTES: usize = 96;
/// Bytes that a member of an object comes to, with its name.
const MEMBER_BYTES: usize = 160;

/// A budget of memory. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<Semaphore>,
    units: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// It is more than the whole budget.
    Ever,
    /// Others have it.
    Now,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(units)), units }
    }

    /// That of this process.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static BUDGET: LazyLock<Budget> = LazyLock::new(|| {
            let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let limit = cgroup_limit(Path::new("/sys/fs/cgroup"), &cgroups);
            let budget = Budget::new(share_of(limit.unwrap_or(UNLIMITED)));
            tracing::debug!(limit, budget = budget.bytes(), "memory for requests and answers");
            budget
        });
        &BUDGET
    }

    /// Bytes of it in all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.units.saturating_mul(UNIT)
    }

    /// Bytes that nobody has.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.available_permits().saturating_mul(UNIT)
    }

    /// A part of it, of nothing yet.
    #[must_use]
    pub fn part(&self) -> Reserved {
        Reserved { budget: self.clone(), permit: None }
    }
}

/// A part of the budget, which is given back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
}

impl Reserved {
    /// Bytes of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.units().saturating_mul(UNIT)
    }

    /// The budget that it is a part of.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    fn units(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Makes it one of so many bytes, if it has fewer.
    ///
    /// # Errors
    /// When there is no room.
    pub fn try_grow(&mut self, to: usize) -> Result<(), NoRoom> {
        let Some(more) = self.missing(to)? else { return Ok(()) };
        let permit = self.budget.left.clone().try_acquire_many_owned(more).map_err(|_| NoRoom::Now)?;
        self.add(permit);
        Ok(())
    }

    /// The same, and waits for room.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn grow(&mut self, to: usize, until: Instant) -> Result<(), NoRoom> {
        if self.try_grow(to) != Err(NoRoom::Now) {
            return self.missing(to).map(drop);
        }
        let Some(more) = self.missing(to)? else { return Ok(()) };
        let waiting = self.budget.left.clone().acquire_many_owned(more);
        let permit = tokio::time::timeout_at(until, waiting).await.ok().and_then(Result::ok).ok_or(NoRoom::Now)?;
        self.add(permit);
        Ok(())
    }

    /// Units that are still to be had; nothing if there are enough.
    fn missing(&self, to: usize) -> Result<Option<u32>, NoRoom> {
        let wanted = to.div_ceil(UNIT);
        let more = wanted.saturating_sub(self.units());
        if more == 0 {
            return Ok(None);
        }
        if wanted > self.budget.units {
            return Err(NoRoom::Ever);
        }
        u32::try_from(more).map(Some).map_err(|_| NoRoom::Ever)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
    }
}

/// What of a limit is the budget: all but what the process needs besides, and a quarter at least.
fn share_of(limit: usize) -> usize {
    limit.saturating_sub(BASE).max(limit / 4)
}

/// The lowest limit of memory of the cgroups that the process is in, of version 2 or 1. `own` is what the kernel says of the
/// process (`/proc/self/cgroup`), `root` where cgroups are mounted.
fn cgroup_limit(root: &Path, own: &str) -> Option<usize> {
    let groups = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => Some((root.to_owned(), "memory.max", path)),
            some if some.split(',').any(|one| one == "memory") => {
                Some((root.join("memory"), "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    });
    let limits = groups.flat_map(|(base, file, path)| {
        // In a container the path may be that of the host, and then only the root is there.
        let ancestors = Path::new(path.trim_start_matches('/')).ancestors().map(Path::to_owned).collect::<Vec<_>>();
        ancestors.into_iter().filter_map(move |group| {
            let text = std::fs::read_to_string(base.join(group).join(file)).ok()?;
            text.trim().parse::<usize>().ok().filter(|limit| *limit < NO_LIMIT)
        })
    });
    limits.min()
}

/// What a text of JSON holds, as far as its signs tell. Of what is no JSON it tells something, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Values, those within others included.
    pub values: usize,
    /// Those of them that are members of objects.
    pub members: usize,
    /// Lists and objects within one another, at most.
    pub depth: usize,
}

impl Weight {
    /// Bytes of memory that the values come to, without their texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let elements = self.values.saturating_sub(self.members);
        elements.saturating_mul(ELEMENT_BYTES).saturating_add(self.members.saturating_mul(MEMBER_BYTES))
    }
}

/// Counts what a text of JSON holds, without making anything of it.
#[must_use]
pub fn weigh(text: &[u8]) -> Weight {
    let mut weight = Weight { values: 1, ..Weight::default() };
    let (mut depth, mut opened) = (0_usize, false);
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_text(after),
            b'{' | b'[' => {
                depth += 1;
                weight.depth = weight.depth.max(depth);
                weight.values += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                // It was counted as one with something in it.
                weight.values -= usize::from(opened);
            }
            b',' => weight.values += 1,
            b':' => weight.members += 1,
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            _ => {}
        }
        opened = matches!(byte, b'{' | b'[');
    }
    weight
}

/// What comes behind a text whose first quotation mark was read.
fn after_text(mut rest: &[u8]) -> &[u8] {
    while let Some(found) = memchr2(b'"', b'\\', rest) {
        let quoted = rest.get(found) == Some(&b'"');
        rest = rest.get(found + if quoted { 1 } else { 2 }..).unwrap_or_default();
        if quoted {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn later(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_waits_and_is_then_refused() {
        let budget = Budget::new(10 * UNIT);
        let (mut first, mut second) = (budget.part(), budget.part());
        assert_eq!(first.try_grow(6 * UNIT), Ok(()));
        assert_eq!((first.bytes(), budget.left()), (6 * UNIT, 4 * UNIT));
        assert_eq!(second.try_grow(11 * UNIT), Err(NoRoom::Ever));
        assert_eq!(second.grow(11 * UNIT, later(1_000)).await, Err(NoRoom::Ever));
        let began = Instant::now();
        assert_eq!(second.grow(5 * UNIT, later(1_000)).await, Err(NoRoom::Now));
        assert_eq!((began.elapsed(), budget.left()), (Duration::from_secs(1), 4 * UNIT), "it took nothing");
        let freed = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(first);
        };
        let (grown, ()) = tokio::join!(second.grow(5 * UNIT, later(1_000)), freed);
        assert_eq!((grown, second.bytes()), (Ok(()), 5 * UNIT));
        assert_eq!(second.grow(2 * UNIT, later(0)).await, Ok(()), "it has more already");
        drop(second);
        assert_eq!(budget.left(), budget.bytes());
    }

    #[test]
    fn the_budget_is_what_the_container_leaves() {
        assert_eq!(share_of(128 * MIB), 80 * MIB);
        assert_eq!(share_of(32 * MIB), 8 * MIB);
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let limit = |own: &str| cgroup_limit(root.path(), own);
        assert_eq!(limit("0::/\n"), None, "nothing is mounted");
        write("memory.max", "134217728\n");
        assert_eq!(limit("0::/\n"), Some(134_217_728));
        assert_eq!(limit("0::/kubepods/pod1\n"), Some(134_217_728), "the path is the host's");
        write("memory.max", "max\n");
        write("slice/memory.max", "1000000\n");
        write("slice/pod/memory.max", "2000000\n");
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/slice/pod\n"), Some(1_000_000), "that of the group around it is lower");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/docker/a/memory.limit_in_bytes", "67108864\n");
        assert_eq!(limit("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n"), Some(67_108_864));
        assert_eq!(limit("4:memory:/\n"), None);
    }

    fn counted(value: &Value, depth: usize) -> Weight {
        let (children, members): (Vec<&Value>, usize) = match value {
            Value::Array(elements) => (elements.iter().collect(), 0),
            Value::Object(map) => (map.values().collect(), map.len()),
            _ => return Weight { values: 1, members: 0, depth },
        };
        children.iter().fold(Weight { values: 1, members, depth: depth + 1 }, |sum, child| {
            let of = counted(child, depth + 1);
            Weight { values: sum.values + of.values, members: sum.members + of.members, depth: sum.depth.max(of.depth) }
        })
    }

    #[test]
    fn signs_in_texts_are_no_signs() {
        let weight = |text: &str| weigh(text.as_bytes());
        assert_eq!(weight(r#"{"a,[{\"\\": ["x:,]", 1, []], "b": {}}"#), Weight { values: 6, members: 2, depth: 3 });
        assert_eq!(weight(r#""a\"#).values, 1);
        assert_eq!(weight("]]],").depth, 0);
        assert_eq!(weight(&"[".repeat(5_000)).depth, 5_000);
        assert_eq!(weight(&format!("[{}0]", "0,".repeat(9_999))).values, 10_001);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), ".{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(4, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_there_is(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(weigh(text.unwrap().as_bytes()), counted(&value, 0));
        }

        #[test]
        fn whatever_it_is_it_is_counted(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let weight = weigh(&bytes);
            prop_assert!(weight.values <= 2 * bytes.len() + 1 && weight.depth <= bytes.len());
        }
    }
}
