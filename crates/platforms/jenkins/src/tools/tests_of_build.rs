//! Reports of tests, read in parts. Stack traces of thousands of failures make tens of megabytes, so first it is asked how each
//! test did, without its words, and then for ranges of suites and cases in which those are that are wanted
//! (`org/kohsuke/stapler/export/Range.java`).

use std::collections::VecDeque;

use super::{
    Target,
    results::{CaseView, Counts, has_failed},
};
use crate::{
    Jenkins,
    client::{Call, Error},
    wire::{self, Build, ChildRun, Suite, TestReport},
};
use outbound::RequestError;
use tokio::time::Instant;
use tools::CallContext;

/// Requests for the tests of one answer.
const MAX_REQUESTS: usize = 10;
/// Requests for how the tests of a report did that is too large for one, suites for which the first of them asks, and tests that are
/// looked at.
const MAX_LOOKS: usize = 20;
const SUITES: usize = 1_000;
const MAX_TESTS: usize = 200_000;
/// Bytes for which one request asks, as far as they can be guessed; and what a test is guessed to have.
const MAX_BYTES: usize = 2 * 1024 * 1024;
const PASSED_BYTES: usize = 200;
const FAILED_BYTES: usize = 8 * 1024;

/// Where a test stands in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    /// The report of a part, where the build has several.
    child: Option<usize>,
    suite: usize,
    case: usize,
}

/// How each test of a build did.
pub(super) struct Tests {
    pub(super) counts: Counts,
    /// In the order of the report, with whether it failed.
    cases: Vec<(At, bool)>,
    /// Whether they have only reports of other kinds than JUnit's, so that none is among them.
    pub(super) elsewhere: bool,
    /// Whether the report is so large that only its first tests are among them.
    pub(super) bounded: bool,
    /// Why those after these could not be looked at.
    pub(super) failed: Option<Error>,
}

/// Tests with their words.
#[derive(Default)]
pub(super) struct Read {
    pub(super) cases: Vec<CaseView>,
    /// How many of those that were wanted are told: the first ones.
    pub(super) told: usize,
    /// Whether the error of a test is too large to be read.
    pub(super) without_error: bool,
}

/// Neighbours that one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    wanted: Vec<At>,
    /// Ranges: the first, and the one after the last.
    suites: (usize, usize),
    cases: (usize, usize),
}

impl Part {
    fn of(at: At) -> Self {
        Self { wanted: vec![at], suites: (at.suite, at.suite + 1), cases: (at.case, at.case + 1) }
    }

    /// The part with one more test.
    fn with(&self, at: At) -> Self {
        let widen = |(from, to): (usize, usize), place: usize| (from.min(place), to.max(place + 1));
        let wanted = self.wanted.iter().copied().chain([at]).collect();
        Self { wanted, suites: widen(self.suites, at.suite), cases: widen(self.cases, at.case) }
    }

    fn child(&self) -> Option<usize> {
        self.wanted.first().and_then(|at| at.child)
    }

    fn halves(&self) -> [Option<Self>; 2] {
        let (first, second) = self.wanted.split_at(self.wanted.len() / 2);
        [first, second].map(|half| {
            let (first, rest) = half.split_first()?;
            Some(rest.iter().fold(Self::of(*first), |part, at| part.with(*at)))
        })
    }

    fn tree(&self, fields: &str) -> String {
        let ((first, end), (from, to)) = (self.suites, self.cases);
        let suites = format!("suites[name,enclosingBlockNames,cases[{fields}]{{{from},{to}}}]{{{first},{end}}}");
        match self.child() {
            Some(child) => format!("childReports[child[url],result[{suites}]]{{{child},{}}}", child + 1),
            None => suites,
        }
    }

    /// The tests of an answer that are wanted, and those that are not there any more.
    fn read(&self, report: &TestReport) -> Vec<CaseView> {
        let child = self.child().and_then(|_| report.child_reports.first());
        let job = child.and_then(|child| child.run.as_ref()).and_then(ChildRun::job);
        let suites: &[Suite] = match self.child() {
            Some(_) => child.and_then(|child| child.result.as_ref()).map_or(&[], |one| &one.suites),
            None => &report.suites,
        };
        let told = self.wanted.iter().filter_map(|at| {
            let suite = suites.get(place_in(suites.len(), self.suites, at.suite)?)?;
            let case = suite.cases.get(place_in(suite.cases.len(), self.cases, at.case)?)?;
            Some(CaseView::of(job.as_deref(), suite, case))
        });
        told.collect()
    }
}

/// Where something stands in a list of which a range was asked for. A list that is longer than the range is the whole one: what
/// answers has not heeded the range.
fn place_in(length: usize, (from, to): (usize, usize), place: usize) -> Option<usize> {
    if length > to - from { Some(place) } else { place.checked_sub(from) }
}

impl Tests {
    fn of(report: &TestReport) -> Self {
        let mut tests = Self::counted(report.counts());
        tests.add(report, 0);
        tests
    }

    const fn counted(counts: Counts) -> Self {
        Self { counts, cases: Vec::new(), elsewhere: false, bounded: false, failed: None }
    }

    /// Adds what a report tells that begins with this suite, or this part.
    fn add(&mut self, report: &TestReport, from: usize) {
        let children = report.child_reports.iter().enumerate().filter_map(|(at, child)| {
            child.result.as_ref().map(|result| (Some(from + at), 0, result.suites.as_slice()))
        });
        let parts = [(None, from, report.suites.as_slice())].into_iter().chain(children);
        self.cases.extend(parts.flat_map(|(child, from, suites)| {
            suites.iter().enumerate().flat_map(move |(at, one)| {
                let cases = one.cases.iter().enumerate();
                cases.map(move |(case, one)| (At { child, suite: from + at, case }, has_failed(one)))
            })
        }));
    }

    /// How many there are to be told.
    pub(super) fn number(&self, only_failed: bool) -> usize {
        self.cases.iter().filter(|(_, failed)| *failed || !only_failed).count()
    }

    /// Bytes that an answer has, guessed; as soon as they are too many, no more is counted.
    fn weight(&self, part: &Part) -> usize {
        let inside = |at: &At| {
            at.child == part.child()
                && (part.suites.0..part.suites.1).contains(&at.suite)
                && (part.cases.0..part.cases.1).contains(&at.case)
        };
        let mut weight = 0;
        for (_, failed) in self.cases.iter().filter(|(at, _)| inside(at)) {
            weight += if *failed { FAILED_BYTES } else { PASSED_BYTES };
            if weight > MAX_BYTES {
                break;
            }
        }
        weight
    }

    /// Puts tests that stand near each other into one request.
    fn parts(&self, wanted: impl IntoIterator<Item = At>) -> VecDeque<Part> {
        let mut parts = VecDeque::new();
        let mut open: Option<Part> = None;
        for at in wanted {
            let wider = open.as_ref().filter(|part| part.child() == at.child).map(|part| part.with(at));
            match wider.filter(|wider| self.weight(wider) <= MAX_BYTES) {
                Some(wider) => open = Some(wider),
                None => parts.extend(open.replace(Part::of(at))),
            }
        }
        parts.extend(open);
        parts
    }
}

impl Jenkins {
    /// How the tests of a build did; nothing if it has none. The build must be one that tells what plugins know of
    /// tests.
    pub(super) async fn fetch_tests(
        &self,
        target: &Target,
        build: &Build,
        context: &CallContext,
    ) -> Result<Option<Tests>, Error> {
        match self.fetch_report(target, &wire::test_states(None), context).await {
            Ok(report) => Ok(Some(Tests::of(&report))),
            Err(Error::NotFound) => {
                Ok(Counts::elsewhere(build).map(|counts| Tests { elsewhere: true, ..Tests::counted(counts) }))
            }
            Err(Error::Request(RequestError::BodyTooLarge)) => self.fetch_large(target, context).await.map(Some),
            Err(error) => Err(error),
        }
    }

    async fn fetch_report(&self, target: &Target, tree: &str, context: &CallContext) -> Result<TestReport, Error> {
        self.object(&Call::json(target.path(&["testReport"]), tree), context).await
    }

    /// The same in ranges of suites, as far as half of the time goes: the rest is for what is told of them.
    async fn fetch_large(&self, target: &Target, context: &CallContext) -> Result<Tests, Error> {
        let looking = CallContext { deadline: Instant::now() + context.remaining() / 2, ..context.clone() };
        let mut tests = Tests::of(&self.fetch_report(target, wire::TEST_COUNTS, context).await?);
        tests.bounded = true;
        let (mut from, mut step, mut whole) = (0, SUITES, true);
        for _ in 0..MAX_LOOKS {
            match self.fetch_report(target, &wire::test_states(Some((from, from + step))), &looking).await {
                Ok(report) => {
                    tests.add(&report, from);
                    whole &= report.all_suites().all(|suite| suite.cases.len() < wire::CASES);
                    if report.suites.len().max(report.child_reports.len()) < step {
                        tests.bounded = !whole;
                        break;
                    }
                    from += step;
                }
                Err(Error::Request(RequestError::BodyTooLarge)) if step > 1 => step = (step / 4).max(1),
                Err(Error::Request(RequestError::BodyTooLarge)) => break,
                Err(_) if looking.remaining().is_zero() => break,
                // The counts are known, and what came already.
                Err(error) => {
                    tests.failed = Some(error);
                    break;
                }
            }
            if tests.cases.len() > MAX_TESTS {
                break;
            }
        }
        Ok(tests)
    }

    /// The words of tests: of so many after the first `from`, of which all or only those that failed count.
    pub(super) async fn fetch_cases(
        &self,
        target: &Target,
        tests: &Tests,
        only_failed: bool,
        (from, limit): (usize, usize),
        context: &CallContext,
    ) -> Result<Read, Error> {
        let wanted = tests.cases.iter().filter(|(_, failed)| *failed || !only_failed);
        let mut left = tests.parts(wanted.map(|(at, _)| *at).skip(from).take(limit));
        let mut read = Read::default();
        for asked in 0..MAX_REQUESTS {
            let Some(part) = left.pop_front() else { break };
            let fields = if read.without_error { wire::CASE_WITHOUT_ERROR } else { wire::CASE };
            match self.fetch_report(target, &part.tree(fields), context).await {
                Ok(report) => {
                    read.cases.extend(part.read(&report));
                    read.told += part.wanted.len();
                }
                Err(Error::Request(RequestError::BodyTooLarge)) if part.wanted.len() > 1 => {
                    for half in part.halves().into_iter().rev().flatten() {
                        left.push_front(half);
                    }
                }
                Err(Error::Request(RequestError::BodyTooLarge)) if !read.without_error => {
                    read.without_error = true;
                    left.push_front(part);
                }
                // What came already is worth more than a page of an error.
                Err(_) if asked > 0 && read.told > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn report(shape: &[Vec<bool>], children: &[Vec<bool>]) -> TestReport {
        let suites = |shape: &[Vec<bool>]| {
            let case = |failed: &bool| json!({ "status": if *failed { "FAILED" } else { "PASSED" } });
            shape.iter().map(|cases| json!({ "cases": cases.iter().map(case).collect::<Vec<_>>() })).collect::<Vec<_>>()
        };
        serde_json::from_value(json!({
            "failCount": 1, "suites": suites(shape), "childReports": [{ "result": { "suites": suites(children) } }, { "result": null }],
        }))
        .unwrap()
    }

    #[test]
    fn scattered_failures_take_few_requests() {
        // Three hundred suites of ten, one failure in each twentieth; and suites in which all fail.
        let scattered: Vec<Vec<bool>> =
            (0..300).map(|suite| (0..10).map(|case| suite % 20 == 0 && case == 5).collect()).collect();
        let tests = Tests::of(&report(&scattered, &[]));
        let failed = || tests.cases.iter().filter(|(_, failed)| *failed).map(|(at, _)| *at);
        assert_eq!((tests.number(true), tests.number(false), tests.parts(failed()).len()), (15, 3_000, 1));
        let all: Vec<Vec<bool>> = vec![vec![true; 100]; 35];
        let tests = Tests::of(&report(&all, &[]));
        let first = tests.cases.iter().map(|(at, _)| *at).take(5);
        let parts = tests.parts(first);
        let tree = "suites[name,enclosingBlockNames,cases[name]{0,5}]{0,1}";
        assert_eq!((parts.len(), parts[0].tree("name")), (1, tree.to_owned()));
    }

    proptest! {
        #[test]
        fn every_test_that_is_wanted_is_in_one_part(
            shape in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..30), 0..30),
            children in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..5), 0..4),
        ) {
            let tests = Tests::of(&report(&shape, &children));
            let wanted: Vec<At> = tests.cases.iter().filter(|(_, failed)| *failed).map(|(at, _)| *at).collect();
            let parts = tests.parts(wanted.clone());
            let all: Vec<At> = parts.iter().flat_map(|part| part.wanted.clone()).collect();
            prop_assert_eq!(&all, &wanted);
            for part in &parts {
                prop_assert!(part.wanted.len() == 1 || tests.weight(part) <= MAX_BYTES);
                let halves: Vec<At> = part.halves().into_iter().flatten().flat_map(|half| half.wanted).collect();
                prop_assert_eq!(&halves, &part.wanted);
                for at in &part.wanted {
                    prop_assert!((part.suites.0..part.suites.1).contains(&at.suite));
                    prop_assert!((part.cases.0..part.cases.1).contains(&at.case));
                }
            }
        }
    }
}
