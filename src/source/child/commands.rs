//! [`Program`], which program delivers the pictures of a source, and with which arguments. Starts nothing.

use std::io;
use std::time::Duration;

use super::super::FrameRate;
use super::super::size::PictureSize;
use super::super::spec::Private;
use super::super::stall_timeout::{FIRST_KEY_FRAME_TIMEOUT, FIRST_PICTURE_TIMEOUT};
use super::version::FfmpegVersion;

/// A program and what it is given.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Program {
    /// Its name, looked for in PATH, or its path.
    pub(super) name: String,
    /// Its arguments. Everybody on the machine can read them.
    pub(super) arguments: Vec<String>,
    /// What it reads on its standard input.
    pub(super) input: String,
    /// Least time that it is given before its first picture.
    pub(super) first_max: Duration,
    /// What to know about how it is called.
    pub(super) warning: Option<String>,
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
        first_max: FIRST_PICTURE_TIMEOUT,
        warning: None,
        remedy: "install it, or write its whole path",
    }
}

/// The first ffmpeg whose lists of files take options.
const LIST_OPTIONS_SINCE: u32 = 5;
/// The oldest ffmpeg that is known to work.
const OLDEST: u32 = 4;
/// How much earlier than due ffmpeg hands a picture over, as part of the interval: which are looked at is decided later.
const INTERVAL_PART: f64 = 0.75;

/// ffmpeg, which turns a network camera's H.264, H.265 or MJPEG into JPEG pictures. The address comes on its standard
/// input, as a list of one entry, so that a password in it is not among the arguments.
///
/// Pictures are dated when they arrive: a camera's clock may step. They are only left out, never repeated: a camera that
/// sends nothing new is silent.
///
/// # Errors
///
/// Which version is needed, where the installed one is too old.
pub(in super::super) fn rtsp(
    url: &Private,
    fps: FrameRate,
    version: Option<&FfmpegVersion>,
) -> Result<Program, String> {
    if let Some(version) = version.filter(|version| version.is_before(OLDEST)) {
        return Err(format!("it is version {version}; install version {OLDEST} or newer"));
    }
    let old = version.filter(|version| version.is_before(LIST_OPTIONS_SINCE));
    let address = url.reveal();
    let has_password = has_credentials(address);
    let list = |options: &str| format!("ffconcat version 1.0\nfile '{address}'\n{options}");
    let (from, input) = match old {
        // Over TCP no packet is lost. The rate is not worth waiting for.
        None => (FROM_LIST, list("option rtsp_transport tcp\noption fpsprobesize 0\n")),
        Some(_) if has_password => (FROM_LIST, list("")),
        Some(_) => ("-rtsp_transport tcp -i", String::new()),
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut arguments = words(
        "-hide_banner -loglevel level+warning -fflags nobuffer -use_wallclock_as_timestamps 1 -fpsprobesize 0",
    );
    arguments.extend(words(from));
    if input.is_empty() {
        arguments.push(address.to_owned());
    }
    let interval = INTERVAL_PART / fps.fps();
    // A machine's clock that is set back leaves nothing out.
    let filter = format!(
        "select='isnan(prev_selected_t)+lt(t,prev_selected_t)+gte(t-prev_selected_t,{interval:.6})',setpts=N/{}/TB",
        fps.fps()
    );
    let rate = fps.fps().to_string();
    let output = "-c:v mjpeg -q:v 4 -f mjpeg pipe:1";
    arguments.extend(words("-an -sn -dn -vf").into_iter().chain([filter, "-r".to_owned(), rate]));
    arguments.extend(words(output));
    let warning = old.filter(|_| has_password).map(|version| {
        format!(
            "ffmpeg {version} reads this camera over UDP, which loses packets; install ffmpeg {LIST_OPTIONS_SINCE} or \
             newer, which reads it over TCP"
        )
    });
    Ok(Program {
        name: "ffmpeg".to_owned(),
        arguments,
        input,
        first_max: FIRST_KEY_FRAME_TIMEOUT,
        warning,
        remedy: "install ffmpeg: apt install ffmpeg",
    })
}

/// Arguments that make ffmpeg read a list of files from its standard input.
const FROM_LIST: &str = "-protocol_whitelist pipe,file,rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto \
                         -f concat -safe 0 -i pipe:0";

/// Whether an address holds something that other users of the machine must not read.
fn has_credentials(address: &str) -> bool {
    crate::util::redact::redacted(address) != address
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
        first_max: FIRST_PICTURE_TIMEOUT,
        warning: None,
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
        for version in [None, Some(FfmpegVersion::of(4)), Some(FfmpegVersion::of(7))] {
            let program = rtsp(&url, FrameRate::default(), version.as_ref()).unwrap();
            assert!(!program.arguments.join(" ").contains("hunter2"));
            assert!(program.input.contains("file 'rtsp://joe:hunter2@door/1'\n"));
            assert!(!format!("{program:?}").contains("hunter2"));
            let is_old = version.is_some_and(|version| version.is_before(5));
            assert_eq!(program.warning.is_some(), is_old);
            assert_eq!(program.input.contains("option "), !is_old);
            assert!(
                program.not_started(&io::ErrorKind::NotFound.into()).contains("install ffmpeg")
            );
        }
    }

    #[test]
    fn an_old_ffmpeg_reads_over_tcp_or_is_refused() {
        let spec = "rtsp://door/1".parse::<SourceSpec>().unwrap();
        let SourceSpec::Rtsp(url) = spec else { panic!("{spec}") };
        let program = rtsp(&url, FrameRate::default(), Some(&FfmpegVersion::of(4))).unwrap();
        let arguments = program.arguments.join(" ");
        assert!(arguments.contains("-rtsp_transport tcp -i rtsp://door/1 -an"), "{arguments}");
        let refused = rtsp(&url, FrameRate::default(), Some(&FfmpegVersion::of(3))).unwrap_err();
        assert_eq!(refused, "it is version 3.1; install version 4 or newer");
    }

    #[test]
    fn a_command_is_taken_as_it_is_written() {
        let spec = "exec:sh -c 'cat a | b'".parse::<SourceSpec>().unwrap();
        let SourceSpec::Exec(words) = spec else { panic!("{spec}") };
        let program = exec(&words);
        assert_eq!((program.name.as_str(), program.arguments.len()), ("sh", 2));
    }
}
