//! The module graph has no cycles: neither between the files of a crate nor between its folders.
//!
//! Edges are the paths that a file names: `crate::…` and `super::…`, without tests. A path to the crate root, which only
//! re-exports, adds no edge.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Graph = BTreeMap<String, BTreeSet<String>>;

const CRATES: [&str; 8] =
    [".", "control", "engine", "events", "journal", "projections", "tools", "vision"];

#[test]
fn the_module_graph_has_no_cycle() {
    for krate in CRATES {
        let graph = graph_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(krate).join("src"));
        assert!(graph.len() > 3 && graph.values().map(BTreeSet::len).sum::<usize>() > 3);
        let cycle = cycle_in(&graph);
        assert!(cycle.is_empty(), "{krate}/src: a cycle between files: {cycle:#?}");
    }
    let cycle = cycle_in(&folders(&graph_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))));
    assert!(cycle.is_empty(), "src: a cycle between folders: {cycle:#?}");
}

#[test]
fn no_two_public_types_share_a_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for krate in CRATES {
        let src = root.join(krate).join("src");
        let mut files = Vec::new();
        list(&src, &src, &mut files);
        for file in files {
            let text = fs::read_to_string(src.join(&file)).unwrap();
            for name in public_types_in(&text) {
                places.entry(name.to_owned()).or_default().push(format!("{krate}/src/{file}"));
            }
        }
    }
    assert!(places.len() > 100);
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "public types of one name: {places:#?}");
}

#[test]
fn public_types_are_found_and_others_are_not() {
    let text = "pub struct One;\n    pub enum Two<'a> {}\npub(crate) struct Three;\npub fn four() {}\n\
                pub trait Five: Send {}\n#[cfg(test)]\nmod tests {\npub struct Six;\n}";
    assert_eq!(public_types_in(text), ["One", "Two", "Five"]);
}

/// The names of the public types in a file, without those of its tests.
fn public_types_in(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let name = |line| {
        let rest = str::trim_start(line).strip_prefix("pub ")?;
        let (kind, rest) = rest.split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "type", "union"].contains(&kind);
        is_type.then(|| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next())?
    };
    code.lines().filter_map(name).collect()
}

/// The arrows of the flow point down: no folder knows one that stands above it.
#[test]
fn no_folder_of_the_recorder_knows_one_above_it() {
    let graph = graph_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let forbidden = [
        (
            "util",
            &["source", "config", "detector", "storage", "metrics", "ingest", "recorder", "cli"][..],
        ),
        ("source", &["config", "detector", "storage", "metrics", "ingest", "recorder", "cli"]),
        ("detector", &["config", "storage", "metrics", "ingest", "recorder", "cli"]),
        ("storage", &["metrics", "ingest", "logging", "recorder", "cli"]),
        ("metrics", &["ingest", "logging", "recorder", "cli"]),
        ("recorder", &["cli"]),
    ];
    let folders = folders(&graph);
    for (folder, above) in forbidden {
        let needs = &folders[folder];
        let up: Vec<_> = above.iter().filter(|above| needs.contains(**above)).collect();
        assert!(up.is_empty(), "{folder} knows {up:?}");
    }
}

/// The graph of the top-level modules.
fn folders(graph: &Graph) -> Graph {
    let folder = |file: &String| {
        file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
    };
    let mut folders = Graph::new();
    for (file, needs) in graph {
        let from = folder(file);
        let to: BTreeSet<_> = needs.iter().map(folder).filter(|to| *to != from).collect();
        folders.entry(from).or_default().extend(to);
    }
    folders
}

#[test]
fn a_cycle_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            graph.entry((*to).to_owned()).or_default();
        }
        graph
    };
    assert_eq!(cycle_in(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), Graph::new());
    let cycle = cycle_in(&graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]));
    assert_eq!(cycle.keys().collect::<Vec<_>>(), ["b", "c"]);
}

/// Which files below `src` name which others.
fn graph_of(src: &Path) -> Graph {
    let mut files = Vec::new();
    list(src, src, &mut files);
    let known: BTreeSet<_> = files.iter().cloned().collect();
    let mut graph = Graph::new();
    for file in files {
        let text = fs::read_to_string(src.join(&file)).unwrap();
        let module = module_of(&file);
        let mut needs = BTreeSet::new();
        for path in paths_in(&text) {
            let mut at: Vec<&str> = match path.first() {
                Some(&"crate") => Vec::new(),
                _ => module.iter().map(String::as_str).collect(),
            };
            for part in path {
                match part {
                    "crate" => {}
                    "super" => drop(at.pop()),
                    part => at.push(part),
                }
            }
            let to = (1..=at.len()).rev().find_map(|len| file_of(&at[..len], &known));
            needs.extend(to.filter(|to| *to != file));
        }
        graph.insert(file, needs);
    }
    graph
}

fn list(root: &Path, directory: &Path, files: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "testing"].contains(&name) {
            list(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["tests.rs", "testing.rs", "lib.rs", "main.rs"].contains(&name)
        {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

fn file_of(module: &[&str], known: &BTreeSet<String>) -> Option<String> {
    let path = module.join("/");
    [format!("{path}.rs"), format!("{path}/mod.rs")].into_iter().find(|file| known.contains(file))
}

/// The module paths that the code of a file names, without comments and tests.
fn paths_in(text: &str) -> Vec<Vec<&str>> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut paths = Vec::new();
    for line in code.lines().map(|line| line.split("//").next().unwrap()) {
        for start in ["crate::", "super::"] {
            for (at, _) in line.match_indices(start) {
                let is_inside =
                    line[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c));
                if !is_inside {
                    let end = line[at..].find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
                    let path = &line[at..end.map_or(line.len(), |end| at + end)];
                    paths.push(path.split("::").filter(|part| !part.is_empty()).collect());
                }
            }
        }
    }
    paths
}

/// What is left of a graph when everything is taken away that needs nothing, or that nothing needs.
fn cycle_in(graph: &Graph) -> Graph {
    let mut left = graph.clone();
    loop {
        let needed: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|name, needs| !needs.is_empty() && needed.contains(name));
        let names: BTreeSet<String> = left.keys().cloned().collect();
        left.values_mut().for_each(|needs| needs.retain(|name| names.contains(name)));
        if left.len() == before {
            return left;
        }
    }
}

/// Words of the private dialect that the glossary replaces. A few remain where each is the right word.
const RETIRED: [&str; 11] = [
    "told",
    "tells",
    "tell",
    "whoever",
    "somebody",
    "nobody",
    "anew",
    "fares",
    "mended",
    "stands in",
    "made again",
];
const RETIRED_MAX: usize = 20;

#[test]
fn retired_words_stay_below_their_limit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    texts_below(root, &mut texts);
    assert!(texts.len() > 300);
    let mut found = BTreeMap::new();
    for (path, text) in &texts {
        let words: Vec<_> = text
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let text = format!(" {} ", words.join(" "));
        let count: usize =
            RETIRED.iter().map(|word| text.matches(&format!(" {word} ")).count()).sum();
        if count > 0 {
            found.insert(path.clone(), count);
        }
    }
    assert!(found.values().sum::<usize>() <= RETIRED_MAX, "{found:#?}");
}

/// The subject comes first: a log message names its object.
#[test]
fn no_log_message_begins_with_a_pronoun() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    texts_below(root, &mut texts);
    let mut messages = 0;
    for (path, text) in &texts {
        let calls = ["trace!(", "debug!(", "info!(", "warn!(", "error!("]
            .iter()
            .flat_map(|call| text.match_indices(&format!("tracing::{call}")).collect::<Vec<_>>());
        for (at, _) in calls {
            let call = text[at..].split(");\n").next().unwrap();
            let Some(message) = call.split('"').nth_back(1) else { continue };
            let first = message.split_whitespace().next().unwrap_or_default().to_lowercase();
            messages += 1;
            let pronouns =
                ["it", "its", "they", "he", "she", "this", "that", "what", "who", "there", "which"];
            assert!(!pronouns.contains(&first.as_str()), "{}: \"{message}\"", path.display());
        }
    }
    assert!(messages > 100, "{messages}");
}

/// A page that names a file which moved is worse than none.
#[test]
fn paths_named_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    texts_below(root, &mut texts);
    let folders = [
        "src",
        "journal/src",
        "journal/tests",
        "engine",
        "events/src",
        "projections",
        "tools",
        "control",
        "vision",
        "tests",
    ];
    let mut checked = 0;
    for (page, text) in texts.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "md"))
    {
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| quoted.starts_with(&format!("{folder}/")))
                && quoted.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            checked += usize::from(is_path);
            let exists = || page.ancestors().any(|folder| folder.join(quoted).exists());
            assert!(!is_path || exists(), "{}: {quoted}", page.display());
        }
    }
    assert!(checked > 50, "{checked}");
}

/// A table of cases and their tests lies as soon as a test has another name.
#[test]
fn tests_named_in_the_page_of_retention_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/design/retention.md")).unwrap();
    let mut sources = Vec::new();
    for folder in ["src/storage", "tests/e2e"] {
        texts_below(&root.join(folder), &mut sources);
    }
    let is_test = |quoted: &&str| {
        quoted.matches('_').count() >= 3 && quoted.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let named: Vec<_> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 30, "{}", named.len());
    for name in named {
        let is_there = |(_, text): &(_, String)| text.contains(&format!("fn {name}("));
        assert!(sources.iter().any(is_there), "no test is named {name}");
    }
}

/// The tracked sources and documents, but for the changelog, the glossary and this file.
fn texts_below(directory: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            texts_below(&path, texts);
        } else if path.is_file()
            && ["rs", "md", "toml"].iter().any(|kind| path.extension().is_some_and(|e| e == *kind))
            && !["CHANGELOG.md", "GLOSSARY.md", "house.rs"].contains(&name)
        {
            texts.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}
