//! Holds the code against the table of rooms in `ARCHITECTURE.md`: which room may know which.

mod sources;

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use self::sources::{ModulePath, Source, of_crate, of_text};

/// A row of the table.
struct Room {
    /// Of the room's first column: a folder or a file below `src`.
    place: String,
    known: Vec<Known>,
}

/// What a room may know: a module with all that is in it.
struct Known {
    /// As it stands in the table.
    written: String,
    module: ModulePath,
    /// Whether it is only what the module itself declares, and nothing of the files below it.
    own_alone: bool,
}

static ROOMS: LazyLock<Vec<Room>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let document = fs::read_to_string(path).unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("Rooms")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `src/"));
    let rooms: Vec<_> = rows
        .flat_map(|row| {
            let cells: Vec<_> = row.split('|').collect();
            let &[_, places, _, known, _] = cells.as_slice() else { panic!("a row with other columns: {row}") };
            assert!(known.contains('`') || known.trim() == "nothing", "{row} does not say what may be known");
            quoted(places)
                .into_iter()
                .map(move |place| Room { place, known: quoted(known).into_iter().map(Known::read).collect() })
        })
        .collect();
    assert!(rooms.len() > 10, "the table of rooms can't be read");
    rooms
});

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let programs = ["src/main.rs", "src/bin/kubectl-mcp/main.rs"].map(|root| of_crate(root, "mcp_connectors"));
    let library = of_crate("src/lib.rs", "crate").into_iter().filter(|source| !source.module.is_empty());
    library.chain(programs.into_iter().flatten()).collect()
});

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Known {
    fn read(written: String) -> Self {
        let own_alone = written.ends_with("/mod.rs");
        let module = written.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        Self { module: module.split('/').map(str::to_owned).collect(), own_alone, written }
    }

    /// Whether this is about a path from the library's root.
    fn holds(&self, path: &[String]) -> bool {
        let Some(rest) = path.strip_prefix(self.module.as_slice()) else { return false };
        let is_below = || SOURCES.iter().any(|source| path.get(..=self.module.len()) == Some(source.module.as_slice()));
        !self.own_alone || rest.is_empty() || !is_below()
    }
}

impl Room {
    fn holds(&self, source: &Source) -> bool {
        let folder = self.place.trim_end_matches(".rs");
        source.file == self.place
            || source.file.trim_end_matches(".rs") == folder
            || source.file.starts_with(&format!("{folder}/"))
    }

    /// Its name among the library's modules; of a program there is none.
    fn module(&self) -> &str {
        self.place.trim_start_matches("src/").trim_end_matches(".rs")
    }

    fn sources(&self) -> impl Iterator<Item = &'static Source> {
        SOURCES.iter().filter(|source| self.holds(source))
    }

    /// Each path into another room, with the file that names it.
    fn ways_out(&self) -> impl Iterator<Item = (&'static str, &'static [String])> {
        self.sources().flat_map(move |source| {
            let paths = source.paths.iter().filter(|path| path.first().is_some_and(|first| first == "crate"));
            let inside = paths
                .filter_map(|path| path.get(1..))
                .filter(move |path| path.first().is_some_and(|room| room != self.module()));
            inside.map(|path| (source.file.as_str(), path))
        })
    }
}

fn room(place: &str) -> &'static Room {
    ROOMS.iter().find(|room| room.place == place).unwrap_or_else(|| panic!("{place} is no room"))
}

#[test]
fn every_file_is_in_one_room_and_every_room_has_a_file() {
    for source in SOURCES.iter() {
        let rooms: Vec<_> = ROOMS.iter().filter(|room| room.holds(source)).map(|room| &room.place).collect();
        assert_eq!(rooms.len(), 1, "{} is in {rooms:?}", source.file);
    }
    for room in ROOMS.iter() {
        assert!(room.sources().next().is_some(), "{} holds no file", room.place);
    }
}

#[test]
fn a_room_knows_what_the_table_says_and_nothing_else() {
    let offences: Vec<_> = ROOMS
        .iter()
        .flat_map(|room| room.ways_out().filter(move |(_, path)| !room.known.iter().any(|known| known.holds(path))))
        .map(|(file, path)| format!("{file} names {}", path.join("::")))
        .collect();
    assert_eq!(offences, Vec::<String>::new());
}

#[test]
fn the_table_allows_nothing_that_no_room_needs() {
    let unused: Vec<_> = ROOMS
        .iter()
        .flat_map(|room| {
            let is_used = move |known: &&Known| room.ways_out().any(|(_, path)| known.holds(path));
            room.known
                .iter()
                .filter(move |known| !is_used(known))
                .map(move |known| format!("{}: {}", room.place, known.written))
        })
        .collect();
    assert_eq!(unused, Vec::<String>::new());
}

/// So there is no circle, and each may become a crate of its own.
#[test]
fn a_room_knows_only_rooms_above_it_in_the_table() {
    let mut above = BTreeSet::new();
    for room in ROOMS.iter() {
        for known in &room.known {
            assert!(above.contains(known.module[0].as_str()), "{} knows {}", room.place, known.written);
        }
        above.insert(room.module());
    }
}

/// Names of platforms among a room's words.
fn platforms_in(place: &str, names: &[&str]) -> Vec<String> {
    let is_one = |word: &&String| {
        let word = word.replace('_', "").to_lowercase();
        names.iter().any(|name| word.contains(name))
    };
    let of = |source: &'static Source| {
        source.words.iter().filter(is_one).map(move |word| format!("{}: {word}", source.file))
    };
    room(place).sources().flat_map(of).collect()
}

#[test]
fn the_server_knows_no_platform_by_name() {
    let names = ["argocd", "circleci", "cloudwatch", "awssdk", "jenkins", "vault"];
    assert_eq!(platforms_in("src/server", &names), Vec::<String>::new());
}

/// It is the operator without a cluster: a Vault it knows as the agent does.
#[test]
fn without_a_cluster_platforms_have_no_names_either() {
    let names = ["argocd", "circleci", "cloudwatch", "awssdk", "jenkins"];
    assert_eq!(platforms_in("src/local", &names), Vec::<String>::new());
}

/// Paths of a room that begin like one of these.
fn named(place: &str, forbidden: &[&str]) -> Vec<String> {
    let begins = |path: &str| forbidden.iter().any(|start| format!("{path}::").starts_with(&format!("{start}::")));
    let of = |source: &'static Source| source.paths.iter().map(move |path| (source.file.as_str(), path.join("::")));
    let found = room(place).sources().flat_map(of).filter(|(_, path)| begins(path));
    found.map(|(file, path)| format!("{file} names {path}")).collect()
}

const KUBERNETES_CLIENT: [&str; 4] = ["kube::Client", "kube::Api", "kube::client", "kube::runtime"];

#[test]
fn the_operator_alone_has_a_client_of_the_kubernetes_api() {
    let without = ROOMS.iter().filter(|room| !["src/operator", "src/bin/kubectl-mcp"].contains(&room.place.as_str()));
    for room in without {
        assert_eq!(named(&room.place, &KUBERNETES_CLIENT), Vec::<String>::new());
    }
}

#[test]
fn the_contract_does_no_io() {
    let io = [
        "std::fs",
        "std::process",
        "tokio",
        "reqwest",
        "hyper",
        "aws_config",
        "aws_sdk_cloudwatch",
        "aws_sdk_cloudwatchlogs",
    ];
    assert_eq!(named("src/api", &io), Vec::<String>::new());
}

/// What these tests would not see, they could not keep.
#[test]
fn however_a_room_is_named_it_is_seen() {
    let text = r#"
        //! crate::documentation::is_no_code
        use crate::{
            api::{self, Reason},
            outbound::{
                Request,
                stack as way,
            },
            platforms as worlds,
        };
        use super::super::server::{audit::{Audit, *}, status};
        use kube::{Api, client::{self as inner}};

        #[serde(with = "crate::attribute::module")]
        struct Inline { field: crate::credentials::Handle<crate::files::Event> }

        fn calls() {
            worlds::vault::connect();
            assert!(matches!(crate::macros::inside(), way::Of::One));
            use self::below::Item;
        }
        pub(in crate::nobody) mod inner {
            fn up() { super::super::super::root() }
            #[cfg(test)]
            mod tests { use crate::tests; }
        }
        #[cfg(test)]
        fn helper() { crate::helper::call() }
        mod child;
        #[cfg(test)]
        #[path = "elsewhere.rs"]
        mod tests;
    "#;
    let module = ["deep".to_owned(), "down".to_owned()];
    let (paths, words, children) = of_text(text, &module, "crate");
    let paths: BTreeSet<_> = paths.iter().map(|path| path.join("::")).collect();
    let named = [
        "crate::api",
        "crate::api::Reason",
        "crate::attribute::module",
        "crate::credentials::Handle",
        "crate::deep::down::below::Item",
        "crate::files::Event",
        "crate::macros::inside",
        "crate::outbound::Request",
        "crate::outbound::stack",
        "crate::outbound::stack::Of::One",
        "crate::platforms",
        "crate::platforms::vault::connect",
        "crate::root",
        "crate::server::audit::*",
        "crate::server::audit::Audit",
        "crate::server::status",
        "kube::Api",
        "kube::client",
    ];
    for path in named {
        assert!(paths.contains(path), "{path} is missing: {paths:?}");
    }
    let unseen = ["crate::documentation", "crate::nobody", "crate::tests", "crate::helper"];
    assert!(!paths.iter().any(|path| unseen.iter().any(|start| path.starts_with(start))), "{paths:?}");
    assert!(words.contains("field") && children == ["child"]);

    let (paths, ..) = of_text("use mcp_connectors::api; use crate::own;", &[], "mcp_connectors");
    assert!(paths.contains(&vec!["crate".to_owned(), "api".to_owned()]));
    assert!(paths.contains(&vec!["program".to_owned(), "own".to_owned()]));
}
