//! Places: bounded, given back, and taken from whoever has most of what is not used yet.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use super::*;

/// Connections that enter, numbered as they come, and who was told to make room.
struct World {
    admission: Arc<Admission>,
    told: RefCell<Vec<u64>>,
    next: u64,
}

impl World {
    fn new(sessions: usize, descriptors: usize) -> Self {
        Self {
            admission: Admission::new(sessions, descriptors),
            told: RefCell::default(),
            next: 0,
        }
    }

    fn enter(&mut self, who: Option<Who>) -> Option<Place> {
        let seat = Seat {
            shard: 0,
            key: 0,
            number: self.next,
        };
        self.next += 1;
        let told = |seat: Seat| {
            self.told.borrow_mut().push(seat.number);
            true
        };
        self.admission.enter(who, seat, 3, &told)
    }

    fn sim(&mut self, number: u32) -> Place {
        let imsi = format!("44010{number:010}").parse().unwrap();
        self.enter(Some(Who::Sim(imsi))).unwrap()
    }

    fn stranger(&mut self, number: u32) -> Place {
        let address = Ipv4Addr::from_bits(0x0a00_0000 | number);
        let who = Who::stranger(&Arc::from("default"), address.into());
        self.enter(Some(who)).unwrap()
    }

    fn serve(&self, place: &mut Place) -> bool {
        place.become_session(&|seat| {
            self.told.borrow_mut().push(seat.number);
            true
        });
        place.is_session()
    }

    fn told(&self) -> Vec<u64> {
        self.told.take()
    }

    fn sessions(&self) -> usize {
        self.admission.sessions.load(Ordering::Relaxed)
    }
}

#[test]
fn places_are_bounded_and_come_back() {
    let mut world = World::new(2, 4);
    let mut sessions = vec![world.sim(1), world.sim(2)];
    for place in &mut sessions {
        assert!(world.serve(place));
    }
    let mut refused = vec![world.sim(3)];
    while let Some(place) = world.enter(None) {
        refused.push(place);
    }
    assert_eq!(refused.len(), REFUSALS_AT_ONCE);
    assert!(refused.iter().all(Place::is_refusal));
    assert!(!world.serve(&mut refused[0]), "sessions make no room");
    sessions.pop();
    assert!(world.serve(&mut refused[0]));
    assert_eq!(world.sessions(), 2);
    drop((sessions, refused));
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.admission.refusals.load(Ordering::Relaxed), 0);
    assert_eq!(world.told(), [0; 0]);
}

#[test]
fn a_sim_has_a_few_half_connects_and_the_rest_take_nothing_from_others() {
    let mut world = World::new(10, 20);
    let places: Vec<Place> = (0..5).map(|_| world.sim(1)).collect();
    let refusals = places.iter().filter(|place| place.is_refusal()).count();
    assert_eq!((refusals, world.sessions()), (2, 3));
    assert!(!world.sim(2).is_refusal());
}

/// What is half makes room; what is whole does not, and nobody is cut while there is room.
#[test]
fn where_places_are_short_the_oldest_half_connect_of_whoever_has_most_goes() {
    let mut world = World::new(6, 12);
    let mut whole = world.sim(9);
    assert!(world.serve(&mut whole));
    let half: Vec<Place> = [1, 2, 2, 3, 2].map(|sim| world.sim(sim)).into();
    assert_eq!(world.told(), [0; 0]);
    let mut newcomers: Vec<Place> = (4..9).map(|sim| world.sim(sim)).collect();
    assert_eq!(world.told(), [2, 3, 1, 4, 5]);
    let more = world.sim(10);
    assert_eq!(world.told(), [6], "the newcomers are half CONNECTs, too");
    let mut evicted = newcomers.remove(0);
    assert!(!world.serve(&mut evicted));
    for place in &mut newcomers {
        assert!(world.serve(place));
    }
    assert_eq!(world.sessions(), 6);
    drop((half, evicted, more));
    assert_eq!(world.sessions(), 5);
    assert_eq!(world.admission.half().leaving(), 0);
}

/// B-ID-8: whoever waits takes no place that others need.
#[test]
fn b_id_8_strangers_have_what_sessions_leave_and_go_first() {
    let mut world = World::new(3, 7);
    let half = world.sim(1);
    let mut waiting: Vec<Place> = [1, 2, 2, 3, 4].map(|number| world.stranger(number)).into();
    assert_eq!(world.told(), [0; 0]);
    // A stranger takes room from strangers, a SIM from strangers before SIMs.
    waiting.push(world.stranger(5));
    assert_eq!(world.told(), [2]);
    let mut session = world.sim(2);
    assert_eq!(world.told(), [1, 3]);
    assert!(world.serve(&mut session));
    // One of them is somebody's now: the others make room, and it does not for itself.
    let mut given = waiting.remove(3);
    assert!(world.serve(&mut given));
    assert_eq!(world.told(), [5]);
    assert_eq!(
        (world.sessions(), world.admission.half().strangers()),
        (3, 1)
    );
    // All sessions that fit are there: strangers would not help, a half CONNECT does.
    let late = world.sim(3);
    assert!(!late.is_refusal());
    assert_eq!(world.told(), [0]);
    drop((waiting, given, session, late, half));
    assert_eq!(
        (world.sessions(), world.admission.half().strangers()),
        (0, 0)
    );
}

/// However many strangers come and go, a SIM that comes has its place.
#[test]
fn b_id_8_a_crowd_of_strangers_keeps_no_sim_out() {
    let descriptors = 16 * LEAVING_AT_ONCE;
    let mut world = World::new(descriptors / 2, descriptors);
    let mut count = 0;
    let mut crowd = Vec::new();
    loop {
        crowd.push(world.stranger(count));
        count += 1;
        if crowd.last().unwrap().is_refusal() {
            break;
        }
    }
    // None of those who were told to make room is gone yet, and no more strangers find any.
    assert_eq!(world.told().len(), LEAVING_AT_ONCE / 2);
    let left = STRANGERS_LEAVE.min(descriptors / 8);
    let room = left + LEAVING_AT_ONCE / 2;
    let sims: Vec<Place> = (0..u32::try_from(room / 2).unwrap())
        .map(|number| world.sim(number))
        .collect();
    assert!(sims.iter().all(|place| !place.is_refusal()));
    assert_eq!(world.told().len(), LEAVING_AT_ONCE / 2);
}

#[test]
fn nobody_goes_who_cannot_be_told_and_no_more_go_at_once_than_are_accounted_for() {
    let mut world = World::new(LEAVING_AT_ONCE + 1, 2 * LEAVING_AT_ONCE + 2);
    let count = u32::try_from(LEAVING_AT_ONCE).unwrap() + 1;
    let _half: Vec<Place> = (0..count).map(|number| world.sim(number)).collect();
    let mut places: Vec<Place> = (0..count).map(|number| world.sim(count + number)).collect();
    assert_eq!(world.told().len(), LEAVING_AT_ONCE);
    assert!(places.pop().unwrap().is_refusal());
    let seat = Seat {
        shard: 0,
        key: 0,
        number: 0,
    };
    let imsi = "440109999999999".parse().unwrap();
    let full = Admission::new(1, 2);
    let nobody = |_: Seat| false;
    let _first = full.enter(Some(Who::Sim(imsi)), seat, 3, &nobody).unwrap();
    let second = full.enter(Some(Who::Sim(imsi)), seat, 3, &nobody).unwrap();
    assert!(second.is_refusal());
}
