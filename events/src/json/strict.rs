//! JSON text to [`Value`], stricter than serde_json: a key that occurs twice is an error, not the last one's
//! win, and a budget bounds the memory that the values take.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::invalid::shown;

/// What may still be parsed. Shared by the texts that belong together.
pub(crate) struct Budget {
    /// How many more values, counted at every depth.
    pub(crate) values: usize,
    /// How deep: 1 is a number, 2 a list of numbers.
    pub(crate) depth: usize,
}

/// Why a text was not parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StrictError {
    /// It is not one JSON value.
    #[error("{reason} at column {column}")]
    Syntax { column: usize, reason: String },
    /// An object has a key twice.
    #[error("the key {} occurs twice", shown(name))]
    DuplicateKey { name: String },
    /// The budget of values is used up.
    #[error("more values than are accepted")]
    TooManyValues,
    /// The budget of depth is used up.
    #[error("nested deeper than is accepted")]
    TooDeep,
}

/// Parses one JSON value that takes up the whole text.
pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Value, StrictError> {
    let depth = budget.depth;
    let mut state = State { budget, error: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict { state: &mut state, depth }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| state.error.take().unwrap_or_else(|| syntax_error(&error)))
}

fn syntax_error(error: &serde_json::Error) -> StrictError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    // The text ends with the position, which has a field of its own here.
    let position = format!(" at line {line} column {column}");
    let reason = text.strip_suffix(&position).unwrap_or(&text).to_owned();
    StrictError::Syntax { column, reason }
}

/// serde carries errors as text only; the typed one waits here until parsing has unwound.
struct State<'b> {
    budget: &'b mut Budget,
    error: Option<StrictError>,
}

impl State<'_> {
    fn refuse<E: Error>(&mut self, error: StrictError) -> E {
        self.error = Some(error);
        E::custom("refused")
    }
}

/// Reads one value with `depth` levels left.
struct Strict<'s, 'b> {
    state: &'s mut State<'b>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth == 0 {
            return Err(self.state.refuse(StrictError::TooDeep));
        }
        match self.state.budget.values.checked_sub(1) {
            Some(left) => self.state.budget.values = left,
            None => return Err(self.state.refuse(StrictError::TooManyValues)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { state, depth } = self;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Strict { state, depth: depth - 1 })? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { state, depth } = self;
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(state.refuse(StrictError::DuplicateKey { name }));
            }
            let value = access.next_value_seed(Strict { state, depth: depth - 1 })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Value, StrictError> {
        parse(text, &mut Budget { values: 8, depth: 4 })
    }

    #[test]
    fn values_are_those_of_serde_json() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "-9223372036854775808",
            "1e20",
            "-0.0",
            r#""a\u0000\ud83d\ude00""#,
            r#"[1,"b",[null]]"#,
            r#"{"b":1,"a":{"c":[]}}"#,
        ] {
            let value = parsed(text).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
            assert_eq!(parsed(&value.to_string()).unwrap().to_string(), value.to_string());
        }
    }

    #[test]
    fn objects_print_in_the_order_of_their_keys() {
        // Fails if a dependency switches serde_json to the order of insertion.
        let value = parsed(r#"{"b":1,"a":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"a":{"c":2,"d":1},"b":1}"#);
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(parsed(text), Err(StrictError::DuplicateKey { name: "a".to_owned() }));
        }
    }

    #[test]
    fn the_budget_of_values_is_kept_at_every_depth() {
        assert!(parsed("[1,2,3,4,5,6,7]").is_ok());
        assert_eq!(parsed("[1,2,3,4,5,6,7,8]"), Err(StrictError::TooManyValues));
        assert_eq!(parsed("[[1,2,3],[4,5,6]]"), Err(StrictError::TooManyValues));
    }

    #[test]
    fn the_budget_of_depth_is_kept() {
        assert!(parsed("[[[1]]]").is_ok() && parsed("[[[[]]]]").is_ok());
        assert_eq!(parsed("[[[[1]]]]"), Err(StrictError::TooDeep));
        assert_eq!(parsed(r#"{"a":{"a":{"a":{"a":1}}}}"#), Err(StrictError::TooDeep));
    }

    #[test]
    fn a_syntax_error_tells_its_column() {
        let error = parsed("[1,").unwrap_err();
        let reason = "EOF while parsing a value".to_owned();
        assert_eq!(error, StrictError::Syntax { column: 3, reason });
        assert!(matches!(parsed("1 2"), Err(StrictError::Syntax { column: 3, .. })));
    }

    #[test]
    fn a_nesting_bomb_neither_overflows_the_stack_nor_is_accepted() {
        let bomb = "[".repeat(1_000_000);
        let mut budget = Budget { values: usize::MAX, depth: usize::MAX };
        assert!(matches!(parse(&bomb, &mut budget), Err(StrictError::Syntax { .. })));
    }
}
