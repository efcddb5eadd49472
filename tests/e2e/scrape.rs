//! A reader of metrics: HTTP over a real connection, and the text parsed by Prometheus' own Python client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Recording, TIMEOUT, lacks};

/// Where a recorder serves its metrics.
pub struct Served(String);

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Served {
    /// Where the recorder said at its start that it does.
    #[track_caller]
    pub fn by(recording: &Recording) -> Self {
        let line =
            recording.said.lines().find(|line| line.contains("health: metrics: ok, http://"));
        Self::in_line(line.unwrap_or_else(|| panic!("no address in\n{}", recording.said)))
    }

    /// Where a line says.
    pub fn in_line(line: &str) -> Self {
        let (_, rest) = line.split_once("http://").unwrap();
        Self(rest.split('/').next().unwrap().to_owned())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Gets a page; `None` where the server was too busy to say anything.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.get_through(self.connect(), path)
    }

    /// Gets a page; `None` also where nothing listens any more.
    pub fn attempt(&self, path: &str) -> Option<Answer> {
        self.get_through(TcpStream::connect(&self.0).ok()?, path)
    }

    fn get_through(&self, mut stream: TcpStream, path: &str) -> Option<Answer> {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.0).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap()
    }

    /// Samples as the Python client understands them, after it has read a page.
    #[track_caller]
    pub fn samples(&self) -> Samples {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Samples::parse(&answer.body)
    }

    /// The value of the only sample of that name, without a parser.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        let body = self.get("/metrics").body;
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{body}")).parse().unwrap()
    }
}

/// Whether the test has to be skipped because the Python client is not there.
pub fn lacks_parser() -> bool {
    let import = Command::new("python3").args(["-c", "import prometheus_client"]).output();
    lacks("prometheus_client (PyPI)", import.is_ok_and(|output| output.status.success()))
}

/// Samples by name, each with its labels.
pub struct Samples(BTreeMap<String, Vec<Sample>>);

type Sample = (BTreeMap<String, String>, f64);

const PARSER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    assert family.type != 'unknown' and family.documentation, family
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, sample.value]))
";

impl Samples {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", PARSER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the parser refuses\n{text}");
        let mut samples: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (name, labels, value): (String, BTreeMap<String, String>, Value) =
                serde_json::from_str(line).unwrap();
            samples.entry(name).or_default().push((labels, value.as_f64().unwrap()));
        }
        Self(samples)
    }

    /// All samples of that name.
    pub fn all(&self, name: &str) -> &[Sample] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The one with these labels.
    #[track_caller]
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(label, text)| found.get(*label).is_some_and(|found| found == text))
        };
        let found: Vec<_> = self.all(name).iter().filter(|(labels, _)| wanted(labels)).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?} in {:?}", self.all(name));
        found[0].1
    }

    /// The sum of all samples of that name with these labels.
    pub fn sum_of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(label, text)| found.get(*label).is_some_and(|found| found == text))
        };
        self.all(name).iter().filter(|(labels, _)| wanted(labels)).map(|(_, value)| value).sum()
    }

    /// The sum of all samples of that name.
    pub fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().map(|(_, value)| value).sum()
    }
}
