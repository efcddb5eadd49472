//! [`LineReader`]: lines of bounded length from anywhere.

use std::io::{self, BufRead, BufReader, Read};

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It fits and is in the buffer.
    Whole,
    /// It is longer than allowed; it was passed over.
    TooLong,
}

/// Lines, numbered from 1, of at most that many bytes each.
pub(super) struct LineReader<R> {
    input: BufReader<R>,
    bytes_max: usize,
    number: u64,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), bytes_max, number: 0 }
    }

    /// Number of the line read last.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether another whole line can be had without waiting.
    pub(super) fn has_line(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// Reads the next line into `line`, without its end. `None` at the end of the input.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Line>> {
        line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            if line.len() + part.len() > self.bytes_max {
                too_long = true;
                line.clear();
            }
            if !too_long {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(if too_long { Line::TooLong } else { Line::Whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_long_ones_are_passed_over_with_little_memory() {
        let long = vec![b'x'; 100 << 20];
        let input = [&b"one\n\n"[..], &long, b"\nthree", &[0xff, 0xfe], b"\nlast"].concat();
        let mut reader = LineReader::new(&input[..], 1000);
        let mut line = Vec::new();
        let mut found = Vec::new();
        while let Some(kind) = reader.next(&mut line).unwrap() {
            assert!(line.capacity() < 10_000);
            found.push((reader.number(), kind, line.clone()));
        }
        let expected: Vec<(u64, Line, &[u8])> = vec![
            (1, Line::Whole, b"one"),
            (2, Line::Whole, b""),
            (3, Line::TooLong, b""),
            (4, Line::Whole, b"three\xff\xfe"),
            (5, Line::Whole, b"last"),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(number, kind, line)| (number, kind, line.to_vec()))
            .collect();
        assert_eq!(found, expected);
    }
}
