//! A ledger: amounts are paid into accounts; a withdrawal is decided on the balance of its account alone.
//!
//! `cargo run -p lenslog-engine --example ledger -- DIR`; run it again, and the balances go on.

use std::collections::BTreeMap;
use std::time::Duration;

use lenslog_engine::{
    CodecError, Decision, Encoded, EventCodec, EventLog, Fact, Recorded, Reducer, Retries,
    SequencedEvent,
};
use lenslog_journal::{Key, Kind, Query, Tags};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moved {
    account: u32,
    cents: i64, // negative: withdrawn
}

struct Bank;

impl EventCodec for Bank {
    type Event = Moved;

    fn encode(moved: &Moved) -> Result<Encoded, CodecError> {
        let tags = Tags::new([format!("account:{}", moved.account)])?;
        Ok(Encoded::new(Kind(1), 1, serde_json::to_vec(moved)?).tags(tags))
    }

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Moved>, CodecError> {
        let (Kind(1), 1) = (kind, version) else { return Ok(None) };
        Ok(Some(serde_json::from_slice(payload)?))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Balances(BTreeMap<u32, i64>);

impl Reducer<Bank> for Balances {
    const NAME: &'static str = "balances";
    const VERSION: u32 = 1;

    fn add(&mut self, record: &Recorded<Moved>) {
        if let Fact::Event(moved) = &record.fact {
            *self.0.entry(moved.account).or_default() += moved.cents;
        }
    }

    fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[derive(Debug)]
struct Withdraw {
    account: u32,
    cents: i64,
    key: Key, // repeated with the same key it happens once
}

impl Decision<Bank> for Withdraw {
    type State = i64;
    type Refusal = String;

    fn boundary(&self) -> Query {
        Query::tag(format!("account:{}", self.account))
    }

    fn evolve(&self, balance: &mut i64, moved: &SequencedEvent<Moved>) {
        if moved.event.account == self.account {
            *balance += moved.event.cents;
        }
    }

    fn decide(&self, balance: &i64) -> Result<Vec<Moved>, String> {
        let Self { account, cents, .. } = *self;
        match *balance >= cents {
            true => Ok(vec![Moved { account, cents: -cents }]),
            false => Err(format!("account {account}: {balance} cents are left; pay in first")),
        }
    }

    fn key(&self) -> Option<Key> {
        Some(self.key)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: ledger DIR")?;
    let (log, balances) =
        EventLog::<Bank>::open(directory)?.reduce::<Balances>("balances.json").start()?;
    let paid = log.append(&Moved { account: 7, cents: 1_250 })?; // durable when it returns
    let key = u128::from(paid.0).to_be_bytes(); // of the request, in a real program
    let withdrawn = log.decide(&Withdraw { account: 7, cents: 250, key }, Retries::default())?;
    let seq = withdrawn.last_seq().unwrap_or(paid);
    let balance = balances.at_least(seq, Duration::from_secs(10))?.read(|all| all.0[&7]);
    println!("account 7: {balance} cents");
    Ok(log.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lenslog_engine::testkit::{check_decision, scenario};

    fn withdraw(cents: i64, id: u8) -> Withdraw {
        Withdraw { account: 7, cents, key: [id; 16] }
    }

    fn moved(cents: i64) -> Moved {
        Moved { account: 7, cents }
    }

    #[test]
    fn a_withdrawal_needs_a_balance() {
        let bank = || scenario::<Bank>().given([moved(100), Moved { account: 8, cents: 900 }]);
        bank().when(&withdraw(80, 1)).then([moved(-80)]);
        let refusal = "account 7: 100 cents are left; pay in first";
        bank().when(&withdraw(120, 1)).then_refused(refusal);
    }

    #[test]
    fn a_withdrawal_meanwhile_counts() {
        let bank = || scenario::<Bank>().given([moved(100)]);
        let refusal = "account 7: 50 cents are left; pay in first";
        bank().meanwhile([moved(-50)]).when(&withdraw(80, 1)).then_refused(refusal);
        let other = Moved { account: 8, cents: -50 };
        bank().meanwhile([other]).when(&withdraw(80, 1)).then([moved(-80)]);
    }

    #[test]
    fn the_laws_hold() {
        let history = [moved(100), Moved { account: 8, cents: 5 }, moved(-30)];
        check_decision::<Bank, _>(&[withdraw(80, 1), withdraw(60, 2)], &history).unwrap();
    }
}
