//! Unique user names (dcb.events): a name has one account at a time; a closed account releases it.

use lenslog_engine::{
    CodecError, Decision, Encoded, EventCodec, EventLog, Retries, SequencedEvent,
};
use lenslog_journal::{Kind, Query, Tags};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Registered { name: String },
    Renamed { from: String, to: String },
    Closed { name: String },
}

struct Accounts;

/// The tag of a name. A name may be personal data and tags outlive erasure: the tag has a digest of it.
fn tag(name: &str) -> String {
    format!("name:{}", blake3::hash(name.as_bytes()).to_hex())
}

impl EventCodec for Accounts {
    type Event = Event;

    fn encode(event: &Event) -> Result<Encoded, CodecError> {
        let tags = match event {
            Event::Registered { name } | Event::Closed { name } => Tags::new([tag(name)])?,
            Event::Renamed { from, to } => Tags::new([tag(from), tag(to)])?,
        };
        Ok(Encoded::new(Kind(1), 1, serde_json::to_vec(event)?).tags(tags))
    }

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Event>, CodecError> {
        let (Kind(1), 1) = (kind, version) else { return Ok(None) };
        Ok(Some(serde_json::from_slice(payload)?))
    }
}

#[derive(Debug)]
struct Register(&'static str);

impl Decision<Accounts> for Register {
    type State = bool;
    type Refusal = String;

    fn boundary(&self) -> Query {
        Query::tag(tag(self.0))
    }

    fn evolve(&self, is_taken: &mut bool, event: &SequencedEvent<Event>) {
        match &event.event {
            Event::Registered { name } if name == self.0 => *is_taken = true,
            Event::Renamed { to, .. } if to == self.0 => *is_taken = true,
            Event::Renamed { from, .. } if from == self.0 => *is_taken = false,
            Event::Closed { name } if name == self.0 => *is_taken = false,
            _ => {}
        }
    }

    fn decide(&self, is_taken: &bool) -> Result<Vec<Event>, String> {
        match is_taken {
            true => Err(format!("{}: the name is taken; choose another one", self.0)),
            false => Ok(vec![Event::Registered { name: self.0.to_owned() }]),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: username DIR")?;
    let (log, ()) = EventLog::<Accounts>::open(directory)?.start()?;
    for name in ["anna", "otto", "anna"] {
        match log.decide(&Register(name), Retries::default()) {
            Ok(decided) => println!("{name}: {decided:?}"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(log.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lenslog_engine::testkit::{check_decision, scenario};

    const TAKEN: &str = "anna: the name is taken; choose another one";

    fn registered(name: &str) -> Event {
        Event::Registered { name: name.to_owned() }
    }

    fn renamed(from: &str, to: &str) -> Event {
        Event::Renamed { from: from.to_owned(), to: to.to_owned() }
    }

    #[test]
    fn a_name_is_taken_once() {
        let accounts = || scenario::<Accounts>().given([registered("otto")]);
        accounts().when(&Register("anna")).then([registered("anna")]);
        accounts().given([registered("anna")]).when(&Register("anna")).then_refused(TAKEN);
        accounts().meanwhile([registered("anna")]).when(&Register("anna")).then_refused(TAKEN);
        let renamed = accounts().given([renamed("otto", "anna")]);
        renamed.when(&Register("anna")).then_refused(TAKEN);
    }

    #[test]
    fn a_name_that_was_given_back_is_free() {
        let closed = Event::Closed { name: "anna".to_owned() };
        for released in [closed, renamed("anna", "berta")] {
            let accounts = scenario::<Accounts>().given([registered("anna"), released]);
            accounts.when(&Register("anna")).then([registered("anna")]);
        }
    }

    #[test]
    fn the_laws_hold() {
        let history = [registered("anna"), renamed("anna", "otto"), renamed("otto", "berta")];
        check_decision::<Accounts, _>(&[Register("anna"), Register("otto")], &history).unwrap();
    }
}
