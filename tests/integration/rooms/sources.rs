//! Reads what Rust files name: every path of a crate's code, as it is from the crate's root, however it is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// Segments from a crate's root.
pub type ModulePath = Vec<String>;

/// One file, without its tests.
pub struct Source {
    /// From the package's root.
    pub file: String,
    /// The module that it holds.
    pub module: ModulePath,
    /// What it names. Paths of the library begin with `crate`, others with the crate that they are of.
    pub paths: BTreeSet<ModulePath>,
    /// Every name in it, whatever it is of.
    pub words: BTreeSet<String>,
}

/// The files of the crate whose root this is: those that its modules declare, so none that is compiled for tests alone.
/// `library` is what this crate calls the library, which itself says `crate`.
pub fn of_crate(root: &str, library: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    read(Path::new(root), &[], library, &mut sources);
    sources
}

fn read(file: &Path, module: &[String], library: &str, sources: &mut Vec<Source>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (paths, words, children) = of_text(&text, module, library);
    sources.push(Source { file: file.display().to_string(), module: module.to_vec(), paths, words });
    for child in children {
        let below = [module, std::slice::from_ref(&child)].concat();
        read(&file_of(file, &child), &below, library, sources);
    }
}

/// The file of the module that another file declares.
fn file_of(parent: &Path, child: &str) -> PathBuf {
    let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| parent.ends_with(name));
    let folder = if is_root { parent.parent().unwrap().to_owned() } else { parent.with_extension("") };
    let flat = folder.join(format!("{child}.rs"));
    let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(&flat).exists();
    if exists { flat } else { folder.join(child).join("mod.rs") }
}

/// What a text names: paths, words, and the modules that lie in files of their own.
pub fn of_text(text: &str, module: &[String], library: &str) -> (BTreeSet<ModulePath>, BTreeSet<String>, Vec<String>) {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let mut reader = Reader { module: module.to_vec(), library: library.to_owned(), ..Reader::default() };
    reader.visit_file(&parsed);
    let Reader { mut paths, imported, words, children, .. } = reader;
    // What begins with an imported name goes on from there.
    let further: Vec<ModulePath> = paths
        .iter()
        .filter_map(|path| {
            let (first, rest) = path.split_first()?;
            Some(imported.get(first)?.iter().map(|from| [from.as_slice(), rest].concat()).collect::<Vec<_>>())
        })
        .flatten()
        .collect();
    paths.extend(further);
    (paths, words, children)
}

#[derive(Default)]
struct Reader {
    module: ModulePath,
    library: String,
    paths: BTreeSet<ModulePath>,
    /// What imports call things, in any block of the file.
    imported: BTreeMap<String, Vec<ModulePath>>,
    words: BTreeSet<String>,
    children: Vec<String>,
}

impl Reader {
    /// The path from a crate's root.
    fn absolute(&self, path: &[String]) -> ModulePath {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let rest = path.get(ups..).unwrap_or_default();
        let here = |levels| self.module.iter().take(self.module.len().saturating_sub(levels));
        let inside = |levels: usize, rest: &[String]| -> ModulePath {
            std::iter::once("crate")
                .chain(here(levels).map(String::as_str))
                .map(str::to_owned)
                .chain(rest.to_vec())
                .collect()
        };
        let absolute: ModulePath = match rest.split_first() {
            _ if ups > 0 => inside(ups, rest),
            Some((first, rest)) if first == "self" => {
                let ups = rest.iter().take_while(|segment| *segment == "super").count();
                inside(ups, rest.get(ups..).unwrap_or_default())
            }
            _ => path.to_vec(),
        };
        // A program's own modules are no rooms, and what it calls the library is what rooms call `crate`.
        match absolute.split_first() {
            Some((first, rest)) if self.library != "crate" && first == "crate" => {
                [&["program".to_owned()][..], rest].concat()
            }
            Some((first, rest)) if *first == self.library => [&["crate".to_owned()][..], rest].concat(),
            _ => absolute,
        }
    }

    fn name(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.paths.insert(self.absolute(path));
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let (path, called) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => ([before, &["*".to_owned()]].concat(), None),
            UseTree::Name(name) if name.ident == "self" => (before.to_vec(), before.last().cloned()),
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) if rename.ident == "self" => (before.to_vec(), Some(rename.rename.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
        };
        let path = self.absolute(&path);
        if let Some(called) = called {
            self.words.insert(called.clone());
            self.imported.entry(called).or_default().push(path.clone());
        }
        self.paths.insert(path);
    }

    /// Paths in what isn't parsed: the insides of macros and attributes, and texts in them.
    fn scan(&mut self, tokens: &str) {
        let joined = tokens.replace(" :: ", "::").replace(":: ", "::").replace(" ::", "::").replace("$ crate", "crate");
        for word in joined.split(|character: char| !(character.is_alphanumeric() || "_:".contains(character))) {
            let path: Vec<_> = word.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
            self.words.extend(path.iter().cloned());
            if word.contains("::") {
                self.name(&path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() {
            let is_elsewhere = item.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
            assert!(!is_elsewhere, "{:?}: {} lies where nobody looks for it", self.module, item.ident);
            self.children.push(item.ident.to_string());
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(&segments);
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.words.insert(ident.to_string());
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.scan(&item.tokens.to_string());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            syn::Meta::List(list) => self.scan(&list.tokens.to_string()),
            // Links of the documentation are Cargo's to check.
            syn::Meta::NameValue(_) | syn::Meta::Path(_) => {}
        }
    }

    /// Who may see something names no room.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::NameValue(_) | syn::Meta::Path(_) => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
