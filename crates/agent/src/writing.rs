//! Writes the credential files as one set, the way the kubelet does it: a new directory, and a link that is moved to it in
//! one step. Whoever reads through the link sees the old set or the new one.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use credentials::supply::{SUPPLY_FILE, Supply};

/// The link that is moved.
const DATA_LINK: &str = "..data";
/// The link before it is moved.
const NEW_LINK: &str = "..data_tmp";
/// What the directories of sets begin with.
const SET_PREFIX: &str = "..set_";
/// The state before it is put in place.
const NEW_SUPPLY: &str = "..supply_tmp";
/// Takes up room, so that the state can still be written when there is none left for anything else.
const RESERVE: &str = "..reserve";
/// Bytes of it: more than a state has.
const RESERVE_BYTES: usize = 8 * 1024;

/// Writes into one directory.
pub(super) struct Writer {
    directory: PathBuf,
}

impl Writer {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Replaces the files by these, all at once or not at all.
    ///
    /// # Errors
    /// When they can't be written; those that are there stay.
    pub(super) fn write(&self, fields: &BTreeMap<String, SecretString>) -> io::Result<()> {
        // A name that was never used before: readers tell sets apart by it.
        let set = format!("{SET_PREFIX}{:016x}", rand::random::<u64>());
        let written = self.write_set(&set, fields).and_then(|()| self.link(&set));
        self.remove_sets_but(written.as_ref().map_or_else(|_| self.current(), |()| Some(set.clone())).as_deref());
        written?;
        self.tidy(fields)
    }

    /// Puts the state beside the files.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn write_state(&self, supply: &Supply) -> io::Result<()> {
        let text = supply.to_file().map_err(io::Error::other)?;
        let put = || -> io::Result<()> {
            let new = self.directory.join(NEW_SUPPLY);
            fs::write(&new, &text)?;
            fs::rename(new, self.directory.join(SUPPLY_FILE))
        };
        let reserve = self.directory.join(RESERVE);
        let written = put().or_else(|_| {
            let _not_there = fs::remove_file(&reserve);
            put()
        });
        if !reserve.exists() && fs::write(&reserve, [0; RESERVE_BYTES]).is_err() {
            let _half_written = fs::remove_file(&reserve);
        }
        written
    }

    /// The state beside the files.
    pub(super) fn read_state(&self) -> Option<Supply> {
        Supply::read(&self.directory)
    }

    fn write_set(&self, set: &str, fields: &BTreeMap<String, SecretString>) -> io::Result<()> {
        let directory = self.directory.join(set);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        for (name, value) in fields {
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(directory.join(name))?;
            file.write_all(value.expose_secret().as_bytes())?;
        }
        Ok(())
    }

    fn link(&self, set: &str) -> io::Result<()> {
        let new = self.directory.join(NEW_LINK);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(set, &new)?;
        fs::rename(new, self.directory.join(DATA_LINK))
    }

    fn current(&self) -> Option<String> {
        fs::read_link(self.directory.join(DATA_LINK)).ok()?.to_str().map(str::to_owned)
    }

    /// Also removes what an agent left that was killed while it wrote.
    fn remove_sets_but(&self, kept: Option<&str>) {
        for name in self.entries() {
            if name.starts_with(SET_PREFIX) && Some(name.as_str()) != kept {
                let _stays = fs::remove_dir_all(self.directory.join(name));
            }
        }
    }

    /// Gives each field a link of its own, and removes those of fields that are gone.
    fn tidy(&self, fields: &BTreeMap<String, SecretString>) -> io::Result<()> {
        for name in fields.keys() {
            let link = self.directory.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new(DATA_LINK).join(name), link)?;
            }
        }
        for name in self.entries() {
            if !name.starts_with("..") && !fields.contains_key(&name) {
                fs::remove_file(self.directory.join(name))?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use files::{FileContent, read_set};

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretString> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
    }

    fn read(directory: &Path, name: &str) -> Option<String> {
        match read_set(directory, &[name], 1_000).unwrap().files.remove(name)? {
            FileContent::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn sets(directory: &Path) -> usize {
        Writer::new(directory.to_owned()).entries().iter().filter(|name| name.starts_with(SET_PREFIX)).count()
    }

    #[test]
    fn fields_come_change_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let writer = Writer::new(path.to_owned());
        writer.write(&fields(&[("user", "a"), ("password", "b")])).unwrap();
        assert_eq!((read(path, "user").unwrap(), read(path, "password").unwrap()), ("a".into(), "b".into()));
        assert_eq!(fs::read_to_string(path.join("user")).unwrap(), "a");
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("user"), mode("..data")), (0o400, 0o700));
        // What was left half-way by an agent that was killed goes, too.
        fs::create_dir(path.join("..set_left")).unwrap();
        symlink("nowhere", path.join(NEW_LINK)).unwrap();
        writer.write(&fields(&[("token", "c")])).unwrap();
        assert_eq!((read(path, "token").as_deref(), read(path, "user")), (Some("c"), None));
        assert!(fs::symlink_metadata(path.join("user")).is_err());
        assert_eq!(sets(path), 1);
    }

    #[test]
    fn a_set_that_cannot_be_written_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let writer = Writer::new(path.to_owned());
        writer.write(&fields(&[("token", "old")])).unwrap();
        writer.write(&fields(&[("token", "new"), ("no/such/folder", "x")])).unwrap_err();
        assert_eq!((read(path, "token").as_deref(), sets(path)), (Some("old"), 1));
    }

    #[test]
    fn no_reader_sees_two_sets_at_once() {
        const SWAPS: usize = 10_000;
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = directory.path().to_owned();
        Writer::new(path.clone()).write(&fields(&[("user", "0"), ("password", "0")])).unwrap();
        let writing = std::thread::spawn(move || {
            let writer = Writer::new(path);
            for number in 1..=SWAPS {
                let value = number.to_string();
                writer.write(&fields(&[("user", &value), ("password", &value)])).unwrap();
            }
        });
        let mut read = 0;
        while !writing.is_finished() {
            // A directory that changes all the time may be left for later, but never be mixed.
            if let Ok(snapshot) = read_set(directory.path(), &["user", "password"], 100) {
                let text = |name: &str| match &snapshot.files[name] {
                    FileContent::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    other => panic!("{other:?}"),
                };
                assert!(!text("user").is_empty());
                assert_eq!(text("user"), text("password"));
                read += 1;
            }
        }
        writing.join().unwrap();
        assert!(read > 1_000, "{read}");
    }
}
