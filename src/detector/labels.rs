//! [`Labels`], the names of a model's classes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lenslog_events::limits::LABEL_BYTES_MAX;

use super::DetectorError;

/// Most classes of a model.
pub const LABELS_MAX: usize = 2_048;

/// Longest file of labels.
pub const LABELS_BYTES_MAX: u64 = 1 << 20;

/// Names of classes, in the order of the model's numbers; at most [`LABELS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Reads a file with a name a line. Empty lines at its end do not count.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Refused`], naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, DetectorError> {
        let refused = |problem: String| DetectorError::refused(path, problem);
        let file = File::open(path).map_err(|error| refused(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = file.take(LABELS_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| refused(error.to_string()))?;
        if bytes.len() as u64 > LABELS_BYTES_MAX {
            return Err(refused(format!("labels take at most {LABELS_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| {
            refused("it is not text; expected the name of a class a line".to_owned())
        })?;
        Self::parse(&text).map_err(refused)
    }

    /// The names in a text, one a line.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().into()).collect();
        if names.len() > LABELS_MAX {
            return Err(format!("it has {} labels, at most {LABELS_MAX} are taken", names.len()));
        }
        for (index, name) in names.iter().enumerate() {
            let problem = match name.len() {
                0 => "is empty; expected the name of a class".to_owned(),
                length if length > LABEL_BYTES_MAX => {
                    format!("is {length} bytes long, at most {LABEL_BYTES_MAX} are taken")
                }
                _ => continue,
            };
            return Err(format!("line {} {problem}", index + 1));
        }
        match names.is_empty() {
            true => Err("it is empty; expected the name of a class a line".to_owned()),
            false => Ok(Self(names)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The name of a class, if there is one of that number.
    #[must_use]
    pub fn get(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(String::as_str)
    }

    /// Whether one of them is called so.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|label| label == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_one_a_line_whatever_ends_it() {
        let labels = Labels::parse("\u{feff}person\r\ntraffic light \r\ncar\n\n\n").unwrap();
        assert_eq!((labels.count(), labels.get(1)), (3, Some("traffic light")));
        assert_eq!((labels.get(3), labels.contains("car")), (None, true));
    }

    #[test]
    fn what_is_no_list_of_names_is_told() {
        for (text, expected) in [
            ("", "it is empty"),
            ("\n\n", "it is empty"),
            ("a\n\nb", "line 2 is empty"),
            (&"x".repeat(200), "line 1 is 200 bytes long, at most 128"),
            (&"a\n".repeat(3000), "it has 3000 labels, at most 2048"),
        ] {
            let problem = Labels::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        let error = || Labels::read(&path).unwrap_err().to_string();
        assert!(error().contains("labels.txt: No such file"), "{}", error());
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(error().contains("it is not text"), "{}", error());
        std::fs::write(&path, vec![b'a'; 2 << 20]).unwrap();
        assert!(error().contains("at most 1048576 bytes"), "{}", error());
    }
}
