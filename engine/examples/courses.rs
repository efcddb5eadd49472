//! Course subscriptions (dcb.events): a course has a capacity, a student takes at most ten courses.
//!
//! No stream holds both rules: the boundary is the events of this course or of this student.

use lenslog_engine::{
    CodecError, Decision, Encoded, EventCodec, EventLog, Retries, SequencedEvent,
};
use lenslog_journal::{Kind, Query, Tags};
use serde::{Deserialize, Serialize};

const COURSES_OF_A_STUDENT_MAX: u32 = 10;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    CourseDefined { course: String, capacity: u32 },
    CapacityChanged { course: String, capacity: u32 },
    StudentSubscribed { course: String, student: String },
}

struct School;

impl EventCodec for School {
    type Event = Event;

    fn encode(event: &Event) -> Result<Encoded, CodecError> {
        let (Event::CourseDefined { course, .. }
        | Event::CapacityChanged { course, .. }
        | Event::StudentSubscribed { course, .. }) = event;
        let mut tags = Tags::new([format!("course:{course}")])?;
        if let Event::StudentSubscribed { student, .. } = event {
            tags = tags.with(format!("student:{student}"))?;
        }
        Ok(Encoded::new(Kind(1), 1, serde_json::to_vec(event)?).tags(tags))
    }

    fn decode(kind: Kind, version: u16, payload: &[u8]) -> Result<Option<Event>, CodecError> {
        let (Kind(1), 1) = (kind, version) else { return Ok(None) };
        Ok(Some(serde_json::from_slice(payload)?))
    }
}

#[derive(Debug, Clone)]
struct Subscribe {
    course: String,
    student: String,
}

#[derive(Debug, Default)]
struct State {
    capacity: Option<u32>,
    of_course: u32,
    of_student: u32,
    is_subscribed: bool,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    NoSuchCourse,
    CourseIsFull,
    AlreadySubscribed,
    StudentHasEnough,
}

impl Decision<School> for Subscribe {
    type State = State;
    type Refusal = Refusal;

    fn boundary(&self) -> Query {
        Query::tag(format!("course:{}", self.course))
            .or(Query::tag(format!("student:{}", self.student)))
    }

    fn evolve(&self, state: &mut State, event: &SequencedEvent<Event>) {
        match &event.event {
            Event::CourseDefined { course, capacity }
            | Event::CapacityChanged { course, capacity } => {
                if *course == self.course {
                    state.capacity = Some(*capacity);
                }
            }
            Event::StudentSubscribed { course, student } => {
                let (is_course, is_student) = (*course == self.course, *student == self.student);
                state.of_course += u32::from(is_course);
                state.of_student += u32::from(is_student);
                state.is_subscribed |= is_course && is_student;
            }
        }
    }

    fn decide(&self, state: &State) -> Result<Vec<Event>, Refusal> {
        let capacity = state.capacity.ok_or(Refusal::NoSuchCourse)?;
        match () {
            () if state.is_subscribed => Err(Refusal::AlreadySubscribed),
            () if state.of_course >= capacity => Err(Refusal::CourseIsFull),
            () if state.of_student >= COURSES_OF_A_STUDENT_MAX => Err(Refusal::StudentHasEnough),
            () => {
                let Self { course, student } = self.clone();
                Ok(vec![Event::StudentSubscribed { course, student }])
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: courses DIR")?;
    let (log, ()) = EventLog::<School>::open(directory)?.start()?;
    log.append(&Event::CourseDefined { course: "rust".to_owned(), capacity: 2 })?;
    for student in ["s1", "s2", "s3"] {
        let subscribe = Subscribe { course: "rust".to_owned(), student: student.to_owned() };
        println!("{student}: {:?}", log.decide(&subscribe, Retries::default()));
    }
    Ok(log.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lenslog_engine::testkit::{check_decision, scenario};

    fn defined(capacity: u32) -> Event {
        Event::CourseDefined { course: "c1".to_owned(), capacity }
    }

    fn changed(capacity: u32) -> Event {
        Event::CapacityChanged { course: "c1".to_owned(), capacity }
    }

    fn subscribed(course: &str, student: &str) -> Event {
        Event::StudentSubscribed { course: course.to_owned(), student: student.to_owned() }
    }

    fn subscribe(student: &str) -> Subscribe {
        Subscribe { course: "c1".to_owned(), student: student.to_owned() }
    }

    #[test]
    fn a_course_takes_as_many_as_its_capacity() {
        let course = |capacity| scenario::<School>().given([defined(capacity)]);
        course(1).when(&subscribe("s1")).then([subscribed("c1", "s1")]);
        let full = course(1).given([subscribed("c1", "s2")]);
        full.when(&subscribe("s1")).then_refused(Refusal::CourseIsFull);
        let full = course(2).meanwhile([changed(0)]);
        full.when(&subscribe("s1")).then_refused(Refusal::CourseIsFull);
        let full = course(1).meanwhile([subscribed("c1", "s2")]);
        full.when(&subscribe("s1")).then_refused(Refusal::CourseIsFull);
        let none = scenario::<School>();
        none.when(&subscribe("s1")).then_refused(Refusal::NoSuchCourse);
    }

    #[test]
    fn a_student_takes_ten_courses_each_once() {
        let course = || scenario::<School>().given([defined(100)]);
        let others = (0..10).map(|number| subscribed(&format!("other{number}"), "s1"));
        let busy = course().given(others.clone());
        busy.when(&subscribe("s1")).then_refused(Refusal::StudentHasEnough);
        let busy = course().given(others.clone().take(9)).meanwhile(others.skip(9));
        busy.when(&subscribe("s1")).then_refused(Refusal::StudentHasEnough);
        let twice = course().given([subscribed("c1", "s1")]);
        twice.when(&subscribe("s1")).then_refused(Refusal::AlreadySubscribed);
    }

    #[test]
    fn the_laws_hold() {
        let history = [defined(1), changed(2), subscribed("c2", "s1"), subscribed("c1", "s3")];
        let decisions = ["s1", "s2"].map(subscribe);
        check_decision::<School, _>(&decisions, &history).unwrap();
    }
}
