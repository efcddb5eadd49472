//! A server on loopback that speaks OpenAI's chat completions, and fails as asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// What the server does with a request.
pub enum Reaction {
    /// Answers with this sentence.
    Sentence(String),
    /// Answers with this status, these header lines and this body.
    Status(&'static str, &'static str, String),
    /// Says nothing and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as the server saw it.
pub struct Asked {
    /// Its number, from 0.
    pub number: usize,
    /// The picture.
    pub picture: Vec<u8>,
    /// The whole request.
    pub body: Value,
    /// Its head.
    pub head: String,
}

impl Asked {
    /// The sentence that names the picture.
    pub fn sentence(&self) -> Reaction {
        Reaction::Sentence(format!("Seen: {}", String::from_utf8_lossy(&self.picture)))
    }
}

/// A server, as long as the process runs.
pub struct ModelServer {
    pub endpoint: String,
    asked: Arc<AtomicUsize>,
    react: Arc<Mutex<React>>,
}

type React = Box<dyn FnMut(&Asked) -> Reaction + Send>;

impl ModelServer {
    pub fn start(react: impl FnMut(&Asked) -> Reaction + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let react: Arc<Mutex<React>> = Arc::new(Mutex::new(Box::new(react)));
        let (counter, reacting) = (Arc::clone(&asked), Arc::clone(&react));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counter, react) = (Arc::clone(&counter), Arc::clone(&reacting));
                std::thread::spawn(move || serve(stream, &counter, &react));
            }
        });
        Self { endpoint, asked, react }
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on it does this.
    pub fn change(&self, react: impl FnMut(&Asked) -> Reaction + Send + 'static) {
        *self.react.lock().unwrap() = Box::new(react);
    }
}

/// Head and body of a request; `None` where the client hangs up before.
pub fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Answers one request; a client that hangs up early is ignored.
fn serve(mut stream: TcpStream, counter: &AtomicUsize, react: &Mutex<React>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (head, body) = read_request(&mut reader)?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let url = body["messages"][0]["content"][1]["image_url"]["url"].as_str().unwrap();
    let picture = url.strip_prefix("data:image/jpeg;base64,").unwrap();
    let picture = BASE64_STANDARD.decode(picture).unwrap();
    let number = counter.fetch_add(1, Ordering::SeqCst);
    let reaction = (react.lock().unwrap())(&Asked { number, picture, body, head });
    let answer = match reaction {
        Reaction::Sentence(sentence) => {
            let message = json!({"role": "assistant", "content": sentence});
            let body = json!({"choices": [{"message": message}]}).to_string();
            respond("200 OK", "Content-Type: application/json\r\n", &body)
        }
        Reaction::Status(status, headers, body) => respond(status, headers, &body),
        Reaction::Hang => {
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
            return None;
        }
        Reaction::Close => return None,
    };
    stream.write_all(&answer).ok()
}

fn respond(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
