//! The load generator's parts. [`options`] are read into a [`plan`], which [`run`] carries out: it starts
//! [`worker`] threads, and each of these has a [`fleet`] of [`device`]s and perhaps a [`sink`] beside it.
//! A [`flood`] may be its neighbour. [`schedule`] says when a message is due, [`message`] what is in it, [`sims`] whose it is, [`verify`] whether it has
//! arrived rightly, [`tally`] and [`histogram`] how often and how fast. [`wire`] is MQTT, [`sys`] the kernel.

pub mod device;
pub mod fleet;
pub mod flood;
pub mod histogram;
pub mod message;
pub mod options;
pub mod plan;
pub mod run;
pub mod schedule;
pub mod shared;
pub mod sims;
pub mod sink;
pub mod sys;
pub mod tally;
pub mod verify;
pub mod wire;
pub mod worker;
