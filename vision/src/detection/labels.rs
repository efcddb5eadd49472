//! [`Labels`], the names of a model's classes.

use lenslog_events::limits::LABEL_BYTES_MAX;

/// Most classes of a model.
pub const LABELS_MAX: usize = 2_048;

/// Names of classes, in the order of the model's numbers; at most [`LABELS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
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
}
