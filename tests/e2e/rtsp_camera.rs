//! An RTSP server over TCP with H.264, whose RTP clock steps and which falls silent where a test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// RTP ticks a second.
const TICKS: i64 = 90_000;
/// Pictures a second.
const RATE: u64 = 10;
/// Pictures that are sent again and again.
const PICTURES: u64 = 20;

/// What the camera does wrong, once it has sent so many pictures.
#[derive(Debug, Clone, Copy)]
pub enum Quirk {
    /// Its RTP clock steps by that many seconds.
    Step(u64, i64),
    /// It sends nothing more, and stays connected.
    Silence(u64),
    /// It sends a picture a second and a key frame every twenty; a client comes just after one.
    RareKeyFrames,
}

impl Quirk {
    /// Pictures a second, and from one key frame to the next.
    const fn rates(self) -> (u64, u64) {
        match self {
            Self::RareKeyFrames => (1, 20),
            Self::Step(..) | Self::Silence(_) => (RATE, 5),
        }
    }
}

/// A camera that serves every client.
pub struct RtspCamera {
    pub address: String,
    sent: Arc<AtomicU64>,
}

impl RtspCamera {
    /// Starts one that sends a test picture, made by ffmpeg in `folder`.
    pub fn start(folder: &Path, quirk: Quirk) -> Self {
        let pictures = Arc::new(pictures(folder, quirk));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("rtsp://{}/door", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (pictures, counter) = (Arc::clone(&pictures), Arc::clone(&counter));
                // A client that hangs up ends it.
                std::thread::spawn(move || serve(stream.unwrap(), &pictures, quirk, &counter));
            }
        });
        Self { address, sent }
    }

    /// How many pictures it has sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// The pictures, each as its NAL units.
fn pictures(folder: &Path, quirk: Quirk) -> Vec<Vec<Vec<u8>>> {
    let film = folder.join("film.h264");
    let (rate, key_frames) = quirk.rates();
    let source = format!("testsrc2=size=320x240:rate={rate}:duration={}", PICTURES / rate);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-preset"])
        .args([
            "ultrafast",
            "-g",
            &key_frames.to_string(),
            "-bf",
            "0",
            "-x264-params",
            "aud=1",
            "-f",
            "h264",
        ])
        .arg(&film)
        .status()
        .unwrap();
    assert!(status.success());
    let bytes = std::fs::read(film).unwrap();
    let starts: Vec<usize> =
        bytes.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    let mut pictures: Vec<Vec<Vec<u8>>> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let mut unit = bytes[start + 3..end].to_vec();
        while unit.last() == Some(&0) {
            unit.pop();
        }
        // An access unit delimiter begins a picture.
        if unit[0] & 0x1F == 9 {
            pictures.push(Vec::new());
        }
        pictures.last_mut().unwrap().push(unit);
    }
    assert_eq!(pictures.len() as u64, PICTURES);
    pictures
}

fn serve(
    stream: TcpStream,
    pictures: &[Vec<Vec<u8>>],
    quirk: Quirk,
    sent: &AtomicU64,
) -> Option<()> {
    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                       m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track\r\n";
    let mut answers = stream.try_clone().ok()?;
    let mut requests = BufReader::new(stream);
    loop {
        let request = request(&mut requests)?;
        let sequence = request.lines().find_map(|line| line.strip_prefix("CSeq: "))?.to_owned();
        let (fields, body) = match request.split(' ').next()? {
            "OPTIONS" => ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", SDP),
            "SETUP" => ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
            _ => ("Session: 1\r\n", ""),
        };
        let length = body.len();
        let head = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{fields}");
        let answer = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        answers.write_all(answer.as_bytes()).ok()?;
        if request.starts_with("PLAY") {
            play(&mut answers, pictures, quirk, sent)?;
        }
    }
}

/// The next request; what is interleaved with them is passed over.
fn request(requests: &mut impl BufRead) -> Option<String> {
    let mut request = String::new();
    loop {
        if requests.fill_buf().ok()?.first()? == &b'$' && request.is_empty() {
            let mut head = [0; 4];
            requests.read_exact(&mut head).ok()?;
            let length = u64::from(u16::from_be_bytes([head[2], head[3]]));
            std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink()).ok()?;
            continue;
        }
        requests.read_line(&mut request).ok()?;
        if request.ends_with("\r\n\r\n") {
            return Some(request);
        }
    }
}

/// Sends pictures until the client hangs up, or it falls silent.
fn play(
    stream: &mut TcpStream,
    pictures: &[Vec<Vec<u8>>],
    quirk: Quirk,
    sent: &AtomicU64,
) -> Option<()> {
    let mut sequence = 0_u16;
    let (rate, _) = quirk.rates();
    let first = u64::from(matches!(quirk, Quirk::RareKeyFrames));
    for number in first.. {
        let late = match quirk {
            Quirk::Silence(after) if number >= after => return Some(()),
            Quirk::Step(after, seconds) if number >= after => seconds * TICKS,
            Quirk::Silence(_) | Quirk::Step(..) | Quirk::RareKeyFrames => 0,
        };
        let time = (number * TICKS as u64 / rate) as i64 + late;
        let picture = &pictures[number as usize % pictures.len()];
        for (index, unit) in picture.iter().enumerate() {
            let mark = if index + 1 == picture.len() { 0x80 } else { 0 };
            let mut packet = vec![b'$', 0];
            packet.extend(u16::try_from(unit.len() + 12).unwrap().to_be_bytes());
            packet.extend([0x80, mark | 96]);
            packet.extend(sequence.to_be_bytes());
            packet.extend((time as u32).to_be_bytes());
            packet.extend(1_u32.to_be_bytes());
            packet.extend(unit);
            stream.write_all(&packet).ok()?;
            sequence = sequence.wrapping_add(1);
        }
        sent.fetch_add(1, Ordering::Relaxed);
        // A camera's own rate.
        std::thread::sleep(Duration::from_millis(1000 / rate));
    }
    None
}
