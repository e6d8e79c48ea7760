//! Holds the crates against the table of rooms in `ARCHITECTURE.md`: which room may know which. Cargo keeps that no room knows
//! another one that its manifest doesn't name, and that no two know each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What stands in backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rooms of the table, each with those that it may know.
fn told() -> BTreeMap<String, BTreeSet<String>> {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("Rooms")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let &[_, room, _, known, _] = cells.as_slice() else { panic!("a row with other columns: {row}") };
        assert!(known.contains('`') != (known.trim() == "nothing"), "{row} does not say what is known");
        let known = quoted(known);
        let room = quoted(room).into_iter().next().unwrap();
        (room.trim_start_matches("crates/").to_owned(), known)
    })
    .collect()
}

/// The crates below `crates`, each with those that it depends on to be compiled, tests apart.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let folder = root();
    let listed = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let room_of = |place: &str| Some(Path::new(place).strip_prefix(folder.join("crates")).ok()?.to_str()?.to_owned());
    let packages = listed["packages"].as_array().unwrap();
    let crates = packages.iter().filter_map(|package| {
        let room = room_of(package["manifest_path"].as_str()?.trim_end_matches("/Cargo.toml"))?;
        let dependencies = package["dependencies"].as_array()?.iter().filter(|one| one["kind"].is_null());
        Some((room, dependencies.filter_map(|one| room_of(one["path"].as_str()?)).collect()))
    });
    crates.collect()
}

#[test]
fn a_room_knows_what_the_table_says_and_nothing_else() {
    let (told, built) = (told(), built());
    assert!(told.len() > 20 && built.len() > 20, "the rooms can't be read");
    for room in told.keys().chain(built.keys()) {
        assert_eq!(told.get(room), built.get(room), "{room}: the table (left), its manifest (right)");
    }
}

/// The names of all packages that a program is made of.
fn made_of(program: &str) -> BTreeSet<String> {
    let listed = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(["--package", program])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect()
}

#[test]
fn the_images_program_is_made_of_nothing_that_only_people_need() {
    let only_people_need = ["mcp-connectors-local", "kube-cel", "cel", "antlr4rust"];
    let (machines, image) = (made_of("mcp-connectors"), made_of("mcp-connectors-image"));
    for name in only_people_need {
        assert!(machines.contains(name), "{name} is gone: this test looks for what is not there");
        assert!(!image.contains(name), "the image's program depends on {name}");
    }
    assert!(image.contains("mcp-connectors-operator") && image.contains("mcp-connectors-server"));
}

#[test]
fn every_platform_passes_the_suite_that_all_must_pass() {
    let platforms =
        built()["platforms"].iter().filter(|room| room.starts_with("platforms/")).cloned().collect::<Vec<_>>();
    assert_eq!(platforms.len(), api::platform::examples().len());
    assert_eq!(platforms.len(), api::platform::declared_reasons().len());
    for platform in platforms {
        let tests = fs::read_to_string(root().join("crates").join(&platform).join("src/tests.rs")).unwrap();
        assert!(tests.contains("platform_testing::complies!("), "{platform} takes no part");
    }
}
