//! Directories that change under a running process, as the kubelet mounts ConfigMaps and Secrets: read as one set of
//! files of one generation, and watched for the next one.

#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watching;

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

pub use self::watching::DirectoryEvents;

/// The link that the kubelet moves to a new directory when the content changes.
const DATA_LINK: &str = "..data";
/// Readings after which a directory that changes all the time is left for the next event.
const MAX_READINGS: usize = 8;

/// What was found of one file.
#[derive(Debug)]
pub enum FileContent {
    /// Its bytes, wiped when they are dropped.
    Bytes(Zeroizing<Vec<u8>>),
    /// It has more bytes than may be read.
    TooLarge,
    /// It is there and can't be read.
    Unreadable(io::ErrorKind),
}

/// Files of one directory, all of one generation.
#[derive(Debug, Default)]
pub struct DirectorySnapshot {
    /// The files that were asked for and are there, by name.
    pub files: BTreeMap<String, FileContent>,
    /// Whether the directory holds any file at all.
    pub any: bool,
}

/// Reads the named files of a directory as one set: if the kubelet swaps the content meanwhile, it is read again, so
/// two files are never of different generations.
///
/// # Errors
/// When the content changed during every reading. A directory that isn't there is an empty one.
pub fn read_set(directory: &Path, names: &[&str], max_bytes: usize) -> io::Result<DirectorySnapshot> {
    for _ in 0..MAX_READINGS {
        let before = generation(directory, names);
        let base = match &before.link {
            Some(target) => directory.join(target),
            None => directory.to_owned(),
        };
        let snapshot = DirectorySnapshot {
            files: names
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), read_file(&base.join(name), max_bytes)?)))
                .collect(),
            any: holds_a_file(&base),
        };
        if generation(directory, names) == before {
            return Ok(snapshot);
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the directory changed during every reading"))
}

/// What tells two generations of a directory apart.
#[derive(PartialEq, Eq)]
struct Generation {
    link: Option<PathBuf>,
    /// Inode, length and time of each file. Where there is no link to swap, this is all there is to go by.
    files: Vec<Option<(u64, u64, i64, i64)>>,
}

fn generation(directory: &Path, names: &[&str]) -> Generation {
    let link = fs::read_link(directory.join(DATA_LINK)).ok();
    let stat = |name: &&str| {
        let metadata = fs::metadata(directory.join(name)).ok()?;
        Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let files = if link.is_some() { Vec::new() } else { names.iter().map(stat).collect() };
    Generation { link, files }
}

fn read_file(path: &Path, max_bytes: usize) -> Option<FileContent> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(FileContent::Unreadable(error.kind())),
    };
    let limit = max_bytes as u64 + 1;
    let length = file.metadata().map_or(0, |metadata| metadata.len()).min(limit);
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 64));
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > max_bytes => Some(FileContent::TooLarge),
        Ok(_) => Some(FileContent::Bytes(bytes)),
        Err(error) => Some(FileContent::Unreadable(error.kind())),
    }
}

fn holds_a_file(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with("..")))
    })
}

#[cfg(test)]
mod tests {
    use super::{testing::kubelet_swap, *};

    fn text(snapshot: &DirectorySnapshot, name: &str) -> Option<String> {
        match snapshot.files.get(name)? {
            FileContent::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_empty() {
        let snapshot = read_set(Path::new("/nonexistent/directory"), &["token"], 10).unwrap();
        assert!(snapshot.files.is_empty() && !snapshot.any);
    }

    #[test]
    fn reads_plain_files_and_mounted_ones() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("token"), "plain").unwrap();
        assert_eq!(text(&read_set(directory.path(), &["token"], 10).unwrap(), "token").unwrap(), "plain");
        fs::remove_file(directory.path().join("token")).unwrap();
        kubelet_swap(directory.path(), 1, &[("token", b"mounted")]);
        assert_eq!(text(&read_set(directory.path(), &["token"], 10).unwrap(), "token").unwrap(), "mounted");
    }

    #[test]
    fn a_large_file_and_a_directory_are_no_content() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("large"), [b'a'; 11]).unwrap();
        fs::create_dir(directory.path().join("folder")).unwrap();
        let snapshot = read_set(directory.path(), &["large", "folder"], 10).unwrap();
        assert!(matches!(snapshot.files["large"], FileContent::TooLarge));
        assert!(matches!(snapshot.files["folder"], FileContent::Unreadable(_)));
    }

    #[test]
    fn two_files_are_never_of_different_generations() {
        // In memory, as the kubelet mounts Secrets.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        kubelet_swap(directory.path(), 0, &[("user", b"0"), ("password", b"0")]);
        let path = directory.path().to_owned();
        let writer = std::thread::spawn(move || {
            for generation in 1..=10_000 {
                let value = generation.to_string();
                kubelet_swap(&path, generation, &[("user", value.as_bytes()), ("password", value.as_bytes())]);
            }
        });
        let mut read = 0;
        while !writer.is_finished() {
            if let Ok(snapshot) = read_set(directory.path(), &["user", "password"], 100) {
                assert_eq!(text(&snapshot, "user"), text(&snapshot, "password"));
                assert!(text(&snapshot, "user").is_some());
                read += 1;
            }
        }
        writer.join().unwrap();
        assert!(read > 0);
    }
}
