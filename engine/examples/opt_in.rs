//! An opt-in token (dcb.events): a sign-up is confirmed once, with its token, within an hour.

use lenslog_engine::{
    CodecError, Decision, Encoded, EventCodec, EventLog, Retries, SequencedEvent,
};
use lenslog_journal::{Clock, Kind, Query, SystemClock, Tags, Timestamp};
use serde::{Deserialize, Serialize};

const VALID_MICROS: i64 = 3_600_000_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    SignUpBegun { token: u64, name: String },
    SignUpConfirmed { token: u64, name: String },
}

struct SignUps;

impl EventCodec for SignUps {
    type Event = Event;

    fn encode(event: &Event) -> Result<Encoded, CodecError> {
        let (Event::SignUpBegun { token, .. } | Event::SignUpConfirmed { token, .. }) = event;
        let tags = Tags::new([format!("token:{token}")])?;
        Ok(Encoded::new(Kind(1), 1, serde_json::to_vec(event)?).tags(tags))
    }

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Event>, CodecError> {
        let (Kind(1), 1) = (kind, version) else { return Ok(None) };
        Ok(Some(serde_json::from_slice(payload)?))
    }
}

/// Time is an input of the command: a decision reads no clock.
#[derive(Debug)]
struct Confirm {
    token: u64,
    now: Timestamp,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    Begun {
        at: Timestamp,
        name: String,
    },
    Confirmed,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    UnknownToken,
    Expired,
    AlreadyConfirmed,
}

impl Decision<SignUps> for Confirm {
    type State = State;
    type Refusal = Refusal;

    fn boundary(&self) -> Query {
        Query::tag(format!("token:{}", self.token))
    }

    fn evolve(&self, state: &mut State, event: &SequencedEvent<Event>) {
        match &event.event {
            Event::SignUpBegun { token, name } if *token == self.token => {
                *state = State::Begun { at: event.time, name: name.clone() };
            }
            Event::SignUpConfirmed { token, .. } if *token == self.token => {
                *state = State::Confirmed;
            }
            _ => {}
        }
    }

    fn decide(&self, state: &State) -> Result<Vec<Event>, Refusal> {
        match state {
            State::Unknown => Err(Refusal::UnknownToken),
            State::Confirmed => Err(Refusal::AlreadyConfirmed),
            State::Begun { at, .. } if self.now.utc_micros - at.utc_micros > VALID_MICROS => {
                Err(Refusal::Expired)
            }
            State::Begun { name, .. } => {
                Ok(vec![Event::SignUpConfirmed { token: self.token, name: name.clone() }])
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: opt_in DIR")?;
    let (log, ()) = EventLog::<SignUps>::open(directory)?.start()?;
    log.append(&Event::SignUpBegun { token: 4711, name: "anna".to_owned() })?;
    for token in [4711, 4711, 9] {
        let confirm = Confirm { token, now: SystemClock::default().read().wall };
        println!("{token}: {:?}", log.decide(&confirm, Retries::default()));
    }
    Ok(log.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lenslog_engine::testkit::{START, check_decision, scenario};

    fn begun(token: u64) -> Event {
        Event::SignUpBegun { token, name: "anna".to_owned() }
    }

    fn confirmed(token: u64) -> Event {
        Event::SignUpConfirmed { token, name: "anna".to_owned() }
    }

    fn confirm(token: u64, minutes: i64) -> Confirm {
        let utc_micros = START.utc_micros + minutes * 60_000_000;
        Confirm { token, now: Timestamp { utc_micros, ..START } }
    }

    #[test]
    fn a_token_is_good_once_and_for_an_hour() {
        let sign_up = || scenario::<SignUps>().given([begun(1)]);
        sign_up().when(&confirm(1, 59)).then([confirmed(1)]);
        sign_up().when(&confirm(1, 61)).then_refused(Refusal::Expired);
        sign_up().when(&confirm(2, 1)).then_refused(Refusal::UnknownToken);
        let twice = sign_up().given([confirmed(1)]);
        twice.when(&confirm(1, 2)).then_refused(Refusal::AlreadyConfirmed);
        let twice = sign_up().meanwhile([confirmed(1)]);
        twice.when(&confirm(1, 2)).then_refused(Refusal::AlreadyConfirmed);
    }

    #[test]
    fn the_laws_hold() {
        let history = [begun(1), begun(2), confirmed(2)];
        let decisions = [confirm(1, 5), confirm(2, 5)];
        check_decision::<SignUps, _>(&decisions, &history).unwrap();
    }
}
