//! Follows the log level that the operator writes beside a pod's configuration, so that more can be seen of a pod that is
//! running. Where there is none, what the command line says holds.

use std::{fs, io::ErrorKind, path::PathBuf, time::Duration};

use api::telemetry::LogLevel;
use common::errors::with_causes;
use files::DirectoryEvents;
use pod_api::config::LOG_LEVEL_FILE;
use telemetry::FilterControl;

/// Time between two looks, for changes of which no event told.
const POLL: Duration = Duration::from_secs(10);

/// Follows the file in the directory of the configuration, for ever. `default` are the directives where there is none.
pub async fn follow(directory: PathBuf, filter: FilterControl, default: String) {
    let file = directory.join(LOG_LEVEL_FILE);
    let mut changes = DirectoryEvents::watch(&directory, POLL);
    let mut current = None;
    loop {
        let text = match fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // It is being replaced; there is a next look.
            Err(_) => current.clone(),
        };
        if text != current {
            let name = text.as_deref().unwrap_or("default").trim();
            let directives = match text.as_deref().map(|text| text.trim().parse::<LogLevel>()) {
                None => Ok(default.clone()),
                Some(level) => level.map(directives),
            };
            match directives.map(|directives| filter.set(&directives)) {
                Ok(Ok(())) => tracing::info!(level = name, "the log level was changed"),
                Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "the log level could not be changed"),
                Err(_) => tracing::warn!(file = %file.display(), "the file holds no log level; it stays as it is"),
            }
            current = text;
        }
        changes.next().await;
    }
}

/// What a level stands for. In detail, libraries say what callers and platforms send, so they say no more than at `info`.
fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => level.to_string(),
        LogLevel::Debug | LogLevel::Trace => format!("info,mcp_connectors={level}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::logs::build_filter;

    #[tokio::test]
    async fn the_level_in_the_file_holds_for_as_long_as_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(LOG_LEVEL_FILE);
        let (_kept, filter) = FilterControl::new(build_filter("warn").unwrap());
        let says = async |expected: &str| {
            let expected = build_filter(expected).unwrap().to_string();
            let as_expected = async {
                while filter.directives().unwrap() != expected {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_mins(1), as_expected).await.unwrap_or_else(|_| {
                panic!("{expected} expected: {:?}", filter.directives());
            });
        };
        fs::write(&file, "debug").unwrap();
        tokio::spawn(follow(directory.path().to_owned(), filter.clone(), "warn".to_owned()));
        says("info,mcp_connectors=debug").await;
        fs::write(&file, "loud").unwrap();
        fs::write(&file, "error\n").unwrap();
        says("error").await;
        fs::remove_file(&file).unwrap();
        says("warn").await;
    }

    #[test]
    fn libraries_never_tell_in_detail() {
        for (name, expected) in [
            ("error", "error"),
            ("warn", "warn"),
            ("info", "info"),
            ("debug", "info,mcp_connectors=debug"),
            ("trace", "info,mcp_connectors=trace"),
        ] {
            assert_eq!(directives(name.parse().unwrap()), expected);
        }
        assert!("loud".parse::<LogLevel>().is_err());
    }
}
