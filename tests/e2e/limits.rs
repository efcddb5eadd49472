//! Limits of the operating system and of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::harness::{TestEnv, is_installed, lacks, line, lines};

/// The program below a limit on the size of files.
fn limited(env: &TestEnv, bytes: u64, args: &[&str]) -> Command {
    let command = env.command(args);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={bytes}")).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

#[test]
fn a_limit_on_file_sizes_is_a_full_disk_and_kills_nothing() {
    if lacks("prlimit", is_installed("prlimit")) {
        return;
    }
    // Nothing fits, only the journal does, and all but the database.
    for bytes in [100_000, 2 << 20, 20 << 20] {
        let env = TestEnv::new().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.2");
        let mut child = limited(&env, bytes, &["ingest", "--ack"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            drop(stdin.write_all((lines(0..8000).join("\n") + "\n").as_bytes()));
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 3)),
            "{bytes}: {:?}\n{err}",
            output.status
        );
        if bytes == 100_000 {
            assert_eq!(output.status.code(), Some(3), "{err}");
        }
        let acknowledged = String::from_utf8_lossy(&output.stdout).lines().count();
        let mut record = limited(&env, bytes, &["record", "--source", "test:", "--duration", "1s"]);
        let code = record.output().unwrap().status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "{bytes}: record ends with {code:?}");
        env.ingest(&lines(0..8000)).expect(0);
        assert!(env.journaled_ids().len() >= acknowledged.max(8000), "{bytes}");
        env.verify();
    }
}

#[test]
fn idle_ingest_streams_leave_a_place_for_status() {
    let env = TestEnv::new();
    let recording = env.record(&["--source", "test:"]);
    let mut streams: Vec<_> = (0..17)
        .map(|number| {
            let mut child = env
                .command(&["ingest", "--ack"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            writeln!(stdin, "{}", line(number)).unwrap();
            let mut answer = String::new();
            // What is refused ends without a word on its output.
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
            (child, stdin, answer)
        })
        .collect();
    let answered = streams.iter().filter(|(_, _, answer)| answer.contains("test-")).count();
    assert_eq!(answered, 16, "one is too many");
    for _ in 0..3 {
        env.run(&["status"]).expect(0).says("health     ok");
    }
    for (mut child, stdin, _) in streams.drain(..) {
        drop(stdin);
        child.wait().unwrap();
    }
    recording.stop().expect(0);
}
