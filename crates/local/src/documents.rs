//! The documents of the files that were named: read, taken apart, and checked one by one as the API server would.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    finding::{Finding, Level},
    schema::{Problem, Schemas},
    yaml::{Content, Node, parse},
};

/// Stands for standard input.
pub const STDIN: &str = "-";
/// Bytes of a file, at most. An object of the API server has at most 1.5 MiB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Endings of files that are read in directories.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where manifests come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Files, directories, and `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// Whether directories in directories are read too.
    pub recursive: bool,
    /// Namespace of objects that name none.
    pub namespace: String,
}

/// Why manifests can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory can't be read.
    #[error("failed to read {path}")]
    Read {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any manifest.
    #[error("{path} has more than {MAX_FILE_BYTES} bytes; name the file with the manifests")]
    TooLarge {
        /// The path.
        path: String,
    },
    /// There is nothing to read.
    #[error("there is no file with manifests (*.yaml, *.yml, *.json) in {0}")]
    Empty(String),
}

/// The text of a file. It may hold Secrets.
pub struct Text {
    /// The file as it was named; `-` for standard input.
    pub file: Arc<str>,
    /// What it holds.
    pub text: Zeroizing<String>,
}

/// An object that fits its schema.
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The file that it stands in.
    pub file: Arc<str>,
    /// The object with the places of its fields.
    pub node: Node,
    /// The object as the API server would keep it.
    pub value: Value,
}

impl Sources {
    /// Reads every file. Standard input can be read once: what it held is kept in `stdin`.
    ///
    /// # Errors
    /// When one can't be read, or there is none.
    pub fn read(&self, stdin: &mut Option<Arc<Text>>) -> Result<Vec<Arc<Text>>, ReadError> {
        let mut texts = Vec::new();
        for path in &self.paths {
            if path.as_os_str() == STDIN {
                let text = match stdin.take() {
                    Some(text) => text,
                    None => Arc::new(read_text(STDIN, io::stdin().lock())?),
                };
                texts.push(stdin.insert(text).clone());
                continue;
            }
            let failed = |source| ReadError::Read { path: path.display().to_string(), source };
            let mut files = Vec::new();
            if fs::metadata(path).map_err(failed)?.is_dir() {
                list(path, self.recursive, &mut files)?;
                if files.is_empty() {
                    return Err(ReadError::Empty(path.display().to_string()));
                }
            } else {
                files.push(path.clone());
            }
            for file in files {
                let name = file.display().to_string();
                let opened = fs::File::open(&file).map_err(|source| ReadError::Read { path: name.clone(), source })?;
                texts.push(Arc::new(read_text(&name, opened)?));
            }
        }
        Ok(texts)
    }

    /// Directories in which a change may change what is read.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        for path in self.paths.iter().filter(|path| path.as_os_str() != STDIN) {
            if path.is_dir() {
                collect_directories(path, self.recursive, &mut directories);
            } else {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                directories.push(parent.unwrap_or(Path::new(".")).to_owned());
            }
        }
        directories.sort();
        directories.dedup();
        directories
    }
}

fn read_text(name: &str, reader: impl Read) -> Result<Text, ReadError> {
    let mut text = Zeroizing::new(String::new());
    let failed = |source| ReadError::Read { path: name.to_owned(), source };
    reader.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge { path: name.to_owned() });
    }
    Ok(Text { file: name.into(), text })
}

/// The entries of a directory in the order of their names, without hidden ones.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError::Read { path: directory.display().to_string(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn list(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    for path in entries(directory)? {
        if path.is_dir() {
            if recursive {
                list(&path, recursive, files)?;
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    Ok(())
}

fn collect_directories(directory: &Path, recursive: bool, found: &mut Vec<PathBuf>) {
    found.push(directory.to_owned());
    if recursive {
        for path in entries(directory).unwrap_or_default().into_iter().filter(|path| path.is_dir()) {
            collect_directories(&path, recursive, found);
        }
    }
}

/// Takes texts apart into the objects that fit their schema, and says what is wrong with the others. Objects of other
/// kinds are left out: what a GitOps repository holds besides is not this program's.
#[must_use]
pub fn read_objects(texts: &[Arc<Text>], schemas: &Schemas, namespace: &str) -> (Vec<Object>, Vec<Finding>) {
    let (mut objects, mut findings) = (Vec::new(), Vec::new());
    for text in texts {
        let documents = match parse(&text.text) {
            Ok(documents) => documents,
            Err(error) => {
                findings.push(Finding::about_file(Level::Error, "yaml", &text.file, error.place, error.message));
                continue;
            }
        };
        for document in documents {
            take(document, text, schemas, namespace, &mut objects, &mut findings);
        }
    }
    (objects, findings)
}

/// Takes one document: an object, or a list of them.
fn take(
    mut document: Node,
    text: &Text,
    schemas: &Schemas,
    namespace: &str,
    objects: &mut Vec<Object>,
    findings: &mut Vec<Finding>,
) {
    let word = |node: &Node, key: &str| match node.get(key).map(|node| &node.content) {
        Some(Content::Scalar(Value::String(word))) => Some(word.clone()),
        _ => None,
    };
    let (Some(api_version), Some(kind)) = (word(&document, "apiVersion"), word(&document, "kind")) else {
        let message = "this is no Kubernetes object: apiVersion or kind is missing";
        findings.push(Finding::about_file(Level::Error, "yaml", &text.file, document.place, message));
        return;
    };
    if (api_version.as_str(), kind.as_str()) == ("v1", "List") {
        let Content::Map(entries) = &mut document.content else { return };
        let items = entries.iter_mut().find(|(key, ..)| key == "items").map(|(.., node)| &mut node.content);
        if let Some(Content::List(items)) = items {
            for item in std::mem::take(items) {
                take(item, text, schemas, namespace, objects, findings);
            }
        }
        return;
    }
    if !schemas.knows(&api_version, &kind) {
        if api_version.split('/').next() == Some(api::GROUP) {
            let message = format!("no matches for kind {kind:?} in version {api_version:?}");
            findings.push(Finding::about_file(Level::Error, "kind", &text.file, document.locate("kind"), message));
        }
        return;
    }
    let mut value = document.value();
    let metadata = |key: &str| value.pointer(&format!("/metadata/{key}")).and_then(Value::as_str).map(str::to_owned);
    let (own_name, own_namespace) = (metadata("name"), metadata("namespace"));
    let name = own_name.clone().unwrap_or_default();
    let namespace = own_namespace.unwrap_or_else(|| namespace.to_owned());
    let mut problems = schemas.problems(&api_version, &kind, &mut value);
    let has_metadata = !problems.iter().any(|problem| problem.field == "metadata");
    if has_metadata && own_name.is_none_or(|name| name.is_empty()) {
        problems.push(Problem {
            rule: "schema/required",
            field: "metadata.name".to_owned(),
            message: "Required value: name or generateName is required".to_owned(),
        });
    }
    let subject = format!("{kind} {namespace}/{name}");
    let is_good = problems.is_empty();
    for problem in problems {
        let place = document.locate(&problem.field);
        findings.push(Finding {
            object: Some(subject.clone()),
            field: Some(problem.field).filter(|field| !field.is_empty()),
            ..Finding::about_file(Level::Error, problem.rule, &text.file, place, problem.message)
        });
    }
    if is_good {
        objects.push(Object { kind, namespace, name, file: text.file.clone(), node: document, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Object>, Vec<Finding>) {
        let text = Text { file: "a.yaml".into(), text: Zeroizing::new(text.to_owned()) };
        read_objects(&[Arc::new(text)], &Schemas::new().unwrap(), "team")
    }

    #[test]
    fn lists_are_taken_apart_and_other_kinds_left_out() {
        let (objects, findings) = read(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n\
             - {apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: other}}\n---\n\
             {apiVersion: apps/v1, kind: Deployment, metadata: {name: c}}\n",
        );
        let names: Vec<_> = objects.iter().map(|o| (o.kind.as_str(), o.namespace.as_str(), o.name.as_str())).collect();
        assert_eq!(names, [("Secret", "team", "a"), ("ConfigMap", "other", "b")]);
        assert_eq!(findings, []);
    }

    #[test]
    fn a_problem_is_told_with_the_line_of_its_field() {
        let (objects, findings) = read(
            "apiVersion: mcp-connectors.io/v1alpha1\nkind: CredentialSource\nmetadata:\n  name: a\nspec:\n  hosts:\n  \
             - a.example.com\n  - https://b\n  sekret: {}\n",
        );
        assert!(objects.is_empty());
        let told: Vec<_> = findings.iter().map(|f| (f.line, f.field.as_deref().unwrap_or_default())).collect();
        assert_eq!(told, [(9, "spec.sekret"), (8, "spec.hosts[1]")]);
        assert_eq!(findings[0].object.as_deref(), Some("CredentialSource team/a"));
    }

    #[test]
    fn what_is_no_object_is_told() {
        let cases = [
            ("kind: Secret\n", "apiVersion or kind is missing"),
            ("just a text\n", "apiVersion or kind is missing"),
            ("{apiVersion: mcp-connectors.io/v1, kind: McpConnector}\n", "no matches for kind \"McpConnector\""),
            ("{apiVersion: v1, kind: Secret}\n", "Required value"),
            ("{apiVersion: v1, kind: Secret, metadata: {}}\n", "name or generateName is required"),
            ("a: [\n", ""),
        ];
        for (text, words) in cases {
            let (objects, findings) = read(text);
            assert!(objects.is_empty(), "{text}");
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            assert!(findings[0].message.contains(words), "{findings:?}");
        }
    }

    #[test]
    fn directories_are_read_as_kubectl_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("deeper")).unwrap();
        for name in ["b.yaml", "a.yml", "c.txt", ".hidden.yaml", "deeper/d.yaml"] {
            fs::write(path(name), "").unwrap();
        }
        let read = |recursive| {
            let paths = vec![directory.path().to_owned()];
            let sources = Sources { paths, recursive, namespace: "default".to_owned() };
            let files: Vec<_> = sources.read(&mut None).unwrap().iter().map(|text| text.file.to_string()).collect();
            (files, sources.directories())
        };
        let named = |names: &[&str]| names.iter().map(|name| path(name).display().to_string()).collect::<Vec<_>>();
        assert_eq!(read(false), (named(&["a.yml", "b.yaml"]), vec![directory.path().to_owned()]));
        assert_eq!(read(true).0, named(&["a.yml", "b.yaml", "deeper/d.yaml"]));
        assert_eq!(read(true).1.len(), 2);
    }
}
