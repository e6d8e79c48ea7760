//! Writes a directory as the kubelet does.

#![allow(clippy::unwrap_used, reason = "tests use it")]

use std::{fs, os::unix::fs::symlink, path::Path};

/// Swaps the content of a mounted directory to `files`, atomically: a new directory, a link to it under another
/// name, and a rename of that link to `..data`. What can't be written panics.
pub fn kubelet_swap(directory: &Path, generation: u64, files: &[(&str, &[u8])]) {
    let target = format!("..2026_01_01_{generation}");
    fs::create_dir(directory.join(&target)).unwrap();
    for (name, content) in files {
        fs::write(directory.join(&target).join(name), content).unwrap();
    }
    let old = fs::read_link(directory.join("..data")).ok();
    symlink(&target, directory.join("..data_tmp")).unwrap();
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    for (name, _) in files {
        if fs::symlink_metadata(directory.join(name)).is_err() {
            symlink(Path::new("..data").join(name), directory.join(name)).unwrap();
        }
    }
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !files.iter().any(|(file, _)| *file == name) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(directory.join(old)).unwrap();
    }
}
