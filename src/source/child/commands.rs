//! [`Program`], which program delivers the pictures of a source, and with which arguments. Starts nothing.

use std::io;

use super::super::FrameRate;
use super::super::size::PictureSize;
use super::super::spec::Private;

/// A program and what it is given.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Program {
    /// Its name, looked for in PATH, or its path.
    pub(super) name: String,
    /// Its arguments. Everybody on the machine can read them.
    pub(super) arguments: Vec<String>,
    /// What it reads on its standard input.
    pub(super) input: String,
    /// What to do where it is not installed.
    remedy: &'static str,
}

impl std::fmt::Debug for Program {
    /// Without arguments and input: they may hold passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Program").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Program {
    /// Why it could not be started, and what to do.
    pub(super) fn not_started(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound => format!("there is no such program; {}", self.remedy),
            io::ErrorKind::PermissionDenied => format!("{error}; make it executable for this user"),
            _ => error.to_string(),
        }
    }

    /// Everything that may hold a password.
    pub(super) fn all_words(&self) -> Vec<String> {
        self.arguments.iter().chain([&self.input]).cloned().collect()
    }
}

/// The program of `exec:`, as it was given.
pub(in super::super) fn exec(words: &[Private]) -> Program {
    let mut words = words.iter().map(|word| word.reveal().to_owned());
    Program {
        name: words.next().unwrap_or_default(),
        arguments: words.collect(),
        input: String::new(),
        remedy: "install it, or write its whole path",
    }
}

/// ffmpeg, which turns a network camera's H.264, H.265 or MJPEG into JPEG pictures. The address comes on its standard
/// input, as a list of one entry, so that a password in it is not among the arguments.
pub(in super::super) fn rtsp(url: &Private, fps: FrameRate) -> Program {
    let arguments = [
        "-hide_banner -loglevel warning -fflags nobuffer",
        "-protocol_whitelist pipe,file,rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto",
        "-f concat -safe 0 -i pipe:0 -an -sn -dn",
    ];
    let mut arguments: Vec<String> =
        arguments.iter().flat_map(|part| part.split(' ')).map(str::to_owned).collect();
    let filter = format!("fps={}", fps.fps());
    let output = ["-vf", &filter, "-c:v", "mjpeg", "-q:v", "4", "-f", "mjpeg", "pipe:1"];
    arguments.extend(output.map(str::to_owned));
    // Over TCP no packet is lost; a camera that is silent for 10 s (in microseconds) is lost.
    let input = format!(
        "ffconcat version 1.0\nfile '{}'\noption rtsp_transport tcp\noption timeout 10000000\n",
        url.reveal()
    );
    let remedy = "install ffmpeg: apt install ffmpeg";
    Program { name: "ffmpeg".to_owned(), arguments, input, remedy }
}

/// rpicam-vid, which reads the camera on a Raspberry Pi's ribbon cable.
pub(in super::super) fn rpicam(number: u32, size: PictureSize, fps: FrameRate) -> Program {
    let arguments = format!(
        "--camera {number} --nopreview --timeout 0 --codec mjpeg --width {} --height {} --framerate {} --output -",
        size.width,
        size.height,
        fps.fps()
    );
    Program {
        name: "rpicam-vid".to_owned(),
        arguments: arguments.split(' ').map(str::to_owned).collect(),
        input: String::new(),
        remedy: "install it on a Raspberry Pi: apt install rpicam-apps",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::SourceSpec;
    use super::*;

    #[test]
    fn a_cameras_password_is_no_argument() {
        let spec = "rtsp://joe:hunter2@door/1".parse::<SourceSpec>().unwrap();
        let SourceSpec::Rtsp(url) = spec else { panic!("{spec}") };
        let program = rtsp(&url, FrameRate::default());
        assert!(!program.arguments.join(" ").contains("hunter2"));
        assert!(program.input.contains("file 'rtsp://joe:hunter2@door/1'\n"));
        assert!(!format!("{program:?}").contains("hunter2"));
        assert!(program.not_started(&io::ErrorKind::NotFound.into()).contains("install ffmpeg"));
    }

    #[test]
    fn a_command_is_taken_as_it_is_written() {
        let spec = "exec:sh -c 'cat a | b'".parse::<SourceSpec>().unwrap();
        let SourceSpec::Exec(words) = spec else { panic!("{spec}") };
        let program = exec(&words);
        assert_eq!((program.name.as_str(), program.arguments.len()), ("sh", 2));
    }
}
